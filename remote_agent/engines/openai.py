"""The openai engine: any endpoint that speaks OpenAI's completions, as a baseline beside models of one's own.

Chats are sent as messages and rendered by the server; plain text goes to the older text completions. Requests
are in flight side by side, each on a thread. Which refusals are tried again is in `endpoint.py`.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from remote_agent.engines.base import (
    Answer,
    Completion,
    Description,
    EngineError,
    Failure,
    Message,
    Prompt,
    Score,
    ScoreRequest,
    expect_completion,
    expect_scores,
    transcript,
)
from remote_agent.engines.endpoint import Endpoint, Refused
from remote_agent.engines.pairs import split_spaces
from remote_agent.protocol import Order

log = logging.getLogger("engine")

CONCURRENCY = 16


class OpenAIEngine:
    """An endpoint at `engine.base_url`; the model's name there is the order's `model`."""

    batch = 64
    can_score = True
    renders = False
    tokenizer: Any | None = None
    context_window: int | None = None
    embedding_rows: int | None = None
    weight_bytes: int | None = None
    free_bytes: int | None = None

    def __init__(self, order: Order) -> None:
        self._order = order
        self._endpoint: Endpoint | None = None
        self.slots = order.engine.concurrency or CONCURRENCY
        self._threads = ThreadPoolExecutor(self.slots, thread_name_prefix="request")
        self._ready: queue.SimpleQueue[tuple[int, Answer | EngineError]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._limit = "max_tokens"
        self._extras = {"logprobs", "seed"}
        """What is asked for beside the answer, as long as the endpoint does not refuse it."""
        self._tokens = [0, 0]

    def prepare(self) -> None:
        spec = self._order.engine
        if spec.base_url is None:
            raise EngineError(
                "the engine `openai` needs `base_url`: where the endpoint is, such as "
                "http://localhost:8000/v1"
            )
        self._endpoint = Endpoint(spec, spec.base_url)

    def load(self) -> None:
        """Ask the endpoint which models it has, so that a wrong address or key is known before any sample."""
        endpoint = self._reached()
        try:
            found = endpoint.get("models")
        except EngineError as exc:
            if "answered 404" not in str(exc):
                raise
            log.info("%s does not list its models", endpoint.name)
            return
        except Refused as exc:
            raise EngineError(f"{exc}. Next: is the server up, and `engine.base_url` right?") from None
        names = [str(row.get("id")) for row in found.get("data") or [] if isinstance(row, dict)]
        if names and self._order.model not in names:
            some = ", ".join(names[:5])
            log.warning("%s lists no model %s; it has %s", endpoint.name, self._order.model, some)

    def describe(self) -> Description:
        where = self._endpoint.name if self._endpoint else self._order.engine.base_url
        return Description(self._order.model_id, f"the endpoint {where}", "the endpoint's own")

    def render(self, messages: Sequence[Message]) -> str:
        """The chat for a reader and for the prompt's hash: the server renders what the model gets."""
        return transcript(messages)

    def document(self, text: str) -> str:
        """As it is: the server adds the begin token."""
        return text

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """A guess, of four characters a token: no tokenizer is at hand."""
        return [1 + len(text) // 4 for text in texts]

    def expect(self, texts: Sequence[str]) -> None:
        """Nothing is computed here that could be shared."""

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        return [expect_completion(answer) for answer in self._all(prompts)]

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[Score]]:
        return [expect_scores(answer) for answer in self._all(requests)]

    def submit(self, ticket: int, request: Prompt | ScoreRequest) -> None:
        self._threads.submit(self._work, ticket, request, self._ready.put)

    def finished(self) -> list[tuple[int, Answer]]:
        rows = [self._ready.get()]
        while not self._ready.empty():
            rows.append(self._ready.get())
        done: list[tuple[int, Answer]] = []
        for ticket, answer in rows:
            if isinstance(answer, EngineError):
                raise answer
            done.append((ticket, answer))
        return done

    def close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        into, out = self._tokens
        spec = self._order.engine
        dollars = ((spec.price_in or 0) * into + (spec.price_out or 0) * out) / 1e6
        log.info("%d tokens sent, %d received, $%.4f at the spec's prices", into, out, dollars)

    def _all(self, requests: Sequence[Prompt | ScoreRequest]) -> list[Answer]:
        """Answers to a batch, in order."""
        ready: queue.SimpleQueue[tuple[int, Answer | EngineError]] = queue.SimpleQueue()
        for ticket, request in enumerate(requests):
            self._threads.submit(self._work, ticket, request, ready.put)
        found = dict(ready.get() for _ in requests)
        return [_or_raise(found[ticket]) for ticket in range(len(requests))]

    def _work(
        self,
        ticket: int,
        request: Prompt | ScoreRequest,
        put: Callable[[tuple[int, Answer | EngineError]], None],
    ) -> None:
        """On a thread: whatever comes of the request is put into the queue."""
        try:
            put((ticket, self._complete(request) if isinstance(request, Prompt) else self._score(request)))
        except EngineError as exc:
            put((ticket, exc))
        except Refused as exc:
            put((ticket, Failure(str(exc))))
        except Exception as exc:
            log.exception("request %d failed", ticket)
            put((ticket, Failure(f"{type(exc).__name__}: {exc}")))

    # --- one answer ---

    def _complete(self, prompt: Prompt) -> Answer:
        while True:
            extras, limit = set(self._extras), self._limit
            try:
                found = self._reached().post(*self._question(prompt, extras, limit))
            except Refused as exc:
                if exc.status != 400 or not self._adapted(str(exc), extras, limit):
                    raise
            else:
                return self._answer(found)

    def _question(self, prompt: Prompt, extras: set[str], limit: str) -> tuple[str, dict[str, Any]]:
        """Path and body of a request."""
        spec = self._order.generate
        body: dict[str, Any] = {
            "model": self._order.model,
            limit: spec.max_tokens,
            "temperature": spec.temperature,
        }
        if spec.top_p < 1.0:
            body["top_p"] = spec.top_p
        if spec.top_k:
            body["top_k"] = spec.top_k
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        if "seed" in extras:
            body["seed"] = prompt.seed % (1 << 31)
        if prompt.messages:
            body["messages"] = list(prompt.messages)
            body.update({"logprobs": True} if "logprobs" in extras else {})
            return "chat/completions", body
        body["prompt"] = prompt.text
        body.update({"logprobs": 1} if "logprobs" in extras else {})
        return "completions", body

    def _adapted(self, said: str, extras: set[str], limit: str) -> bool:
        """Whether a refused request can be sent again in another form, which all later ones take as well."""
        with self._lock:
            if limit == "max_tokens" and "max_completion_tokens" in said:
                self._limit = "max_completion_tokens"
                return True
            refused = {name for name in extras if name in said}
            if refused & self._extras:
                log.warning("the endpoint takes no %s: %s", ", ".join(sorted(refused)), said)
            self._extras -= refused
            return bool(refused)

    def _answer(self, found: dict[str, Any]) -> Answer:
        try:
            choice = found["choices"][0]
            usage = found.get("usage") or {}
            text = choice["message"].get("content") if "message" in choice else choice["text"]
            into, out = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
            ended = choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError) as exc:
            return Failure(f"the endpoint's answer has no {exc}")
        with self._lock:
            self._tokens = [self._tokens[0] + into, self._tokens[1] + out]
        if ended == "content_filter":
            return Failure("the endpoint's content filter held the answer back")
        likely = _logprob(choice.get("logprobs"))
        return Completion(text or "", into, out, "length" if ended == "length" else "stop", likely)

    # --- given answers ---

    def _score(self, request: ScoreRequest) -> Answer:
        return [self._score_one(request, continuation) for continuation in request.continuations]

    def _score_one(self, request: ScoreRequest, continuation: str) -> Score:
        context, rest = split_spaces(request.context, continuation)
        body = {
            "model": self._order.model, "prompt": context + rest, "echo": True, "logprobs": 1, "max_tokens":
            0, "temperature": 0,
        }  # fmt: skip
        try:
            found = self._reached().post("completions", body)
            echoed = found["choices"][0]["logprobs"]
            rows = zip(
                echoed["text_offset"],
                echoed["tokens"],
                echoed["token_logprobs"],
                echoed["top_logprobs"],
                strict=True,
            )
            own = [row[1:] for row in rows if row[0] >= len(context)]
            likely = [float(logprob) for _, logprob, _ in own]
        except Refused as exc:
            if exc.status != 400:
                raise
            raise EngineError(
                f"{exc}. Next: this endpoint cannot score; take `transformers` or `vllm`."
            ) from None
        except (KeyError, IndexError, TypeError, ValueError):
            message = "the endpoint does not say how likely a prompt is. Next: take `transformers` or `vllm`."
            raise EngineError(message) from None
        if not own:
            raise Refused(0, f"the continuation {continuation!r} adds no token to its context")
        greedy = all(logprob >= max((top or {}).values(), default=0.0) for _, logprob, top in own)
        return Score(sum(likely), len(own), greedy)

    def _reached(self) -> Endpoint:
        assert self._endpoint is not None, "prepare() comes first"
        return self._endpoint


def _logprob(found: Any) -> float | None:
    """The sum over an answer's tokens, in either form of the field; None where there is none."""
    if not isinstance(found, dict):
        return None
    if isinstance(found.get("content"), list):
        return float(sum(row["logprob"] for row in found["content"]))
    rows = found.get("token_logprobs")
    return float(sum(x for x in rows if x is not None)) if isinstance(rows, list) else None


def _or_raise(answer: Answer | EngineError) -> Answer:
    if isinstance(answer, EngineError):
        raise answer
    return answer
