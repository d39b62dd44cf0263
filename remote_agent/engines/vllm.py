"""The vllm engine: requests are fed to vLLM's scheduler as they come, and each answer is taken as it is
ready.

vLLM computes in processes of its own; they end with the worker. Prompts are sent as token ids, so that no
begin token is added to a text that has one. vLLM itself is imported in `load`, after its environment is
settled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from remote_agent import adapters
from remote_agent.engines import guard, pairs
from remote_agent.engines.base import (
    Answer,
    Completion,
    Engine,
    EngineBroken,
    EngineError,
    Failure,
    Prompt,
    Score,
    ScoreRequest,
    expect_completion,
    expect_scores,
)
from remote_agent.engines.environment import has_gpu
from remote_agent.engines.local_model import LocalModel
from remote_agent.protocol import Order

log = logging.getLogger("engine")

GPU_SEQUENCES, CPU_SEQUENCES = 256, 32
"""Requests that are computed at once where the order does not say."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for."""
CPU_MEMORY = 0.2
"""The share of RAM that is taken without a GPU where the order does not say."""


class VllmEngine(LocalModel):
    """A model folder, computed by vLLM on GPUs or on the CPU."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._gpu = has_gpu()
        self._at_once = order.engine.concurrency or (GPU_SEQUENCES if self._gpu else CPU_SEQUENCES)
        # A quarter more wait in vLLM's queue, so that it never waits for us.
        self.slots = self._at_once + self._at_once // 4
        self.batch = self.slots
        self._vllm: Any = None
        self._engine: Any = None
        self._lora: Any = None
        self._adapters = 0
        self._under_way: dict[int, _Scoring] = {}
        self._tickets = 0

    def prepare(self) -> None:
        super().prepare()
        # With adapters vLLM 0.29 takes a prompt's rows for those that are drawn, and fails (seen on the CPU).
        self.can_score = not self._largest_rank()
        limit = self._order.engine.max_model_len
        if limit is not None:
            self.context_window = min(limit, self.context_window or limit)

    def wanted_dtype(self) -> str:
        name = self._order.engine.dtype
        return self.folder_dtype() if name == "auto" else name

    def free_memory(self) -> int | None:
        """RAM where there is no GPU; a GPU's memory is vLLM's to divide."""
        return None if self._gpu else int(psutil.virtual_memory().available)

    def load(self) -> None:
        guard.end_children_with_me()
        import vllm
        from vllm.sampling_params import RequestOutputKind

        self._vllm, self._final = vllm, RequestOutputKind.FINAL_ONLY
        spec = self._order.engine
        wanted: dict[str, Any] = {
            "model": str(self.weights),
            "dtype": self.dtype,
            "max_model_len": spec.max_model_len,
            "tensor_parallel_size": spec.tensor_parallel,
            "max_num_seqs": self._at_once,
            "enforce_eager": not self._gpu,
            "disable_log_stats": True,
        }
        rank = self._largest_rank()
        if rank:
            wanted |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
        memory = spec.memory or (None if self._gpu else CPU_MEMORY)
        if memory is not None:
            wanted["gpu_memory_utilization"] = memory
        try:
            self._engine = vllm.LLM(**wanted).llm_engine
        except (RuntimeError, ValueError, OSError, AssertionError, NotImplementedError) as exc:
            reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            raise EngineError(
                f"vLLM does not start: {reason} Next: read the worker's log above this line; with too little "
                "memory lower `engine.max_model_len` or set `engine.memory`."
            ) from exc
        log.info("%s loaded in %s, %d requests at once", self.weights.name, self.dtype, self._at_once)
        self._wear()

    def take_over(self, other: Engine) -> bool:
        if not isinstance(other, VllmEngine) or other._engine is None:
            return False
        if (other.weights, other.dtype) != (self.weights, self.dtype):
            return False
        self._vllm, self._final, self._engine, other._engine = other._vllm, other._final, other._engine, None
        self._adapters = other._adapters
        self._wear()
        return True

    def _wear(self) -> None:
        """Requests name their adapter; vLLM takes it in with the first of them."""
        self._lora = None
        if self.adapter is not None:
            from vllm.lora.request import LoRARequest

            self._adapters += 1
            self._lora = LoRARequest(self.adapter.name, self._adapters, str(self.adapter))

    def _largest_rank(self) -> int:
        """Of the adapters to come, as vLLM has room for it; 0: there are none."""
        places = [self.adapter] if self.adapter else []
        if self._order.sweep:
            places += sorted(Path(self._order.sweep.folder).iterdir())
        ranks = [adapters.rank_of(place) for place in places if adapters.is_adapter(place)]
        return next((size for size in LORA_RANKS if size >= max(ranks)), max(ranks)) if ranks else 0

    def expect(self, texts: Sequence[str]) -> None:
        """vLLM finds by itself what prompts share."""

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        return [expect_completion(answer) for answer in self._all(prompts)]

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[Score]]:
        return [expect_scores(answer) for answer in self._all(requests)]

    def submit(self, ticket: int, request: Prompt | ScoreRequest) -> None:
        self._tickets = max(self._tickets, ticket + 1)
        if isinstance(request, Prompt):
            (ids,) = self.tokens([request.text])
            self._add(f"{ticket}", ids, self._drawing(request))
        else:
            self._submit_scoring(ticket, request)

    def finished(self) -> list[tuple[int, Answer]]:
        done: list[tuple[int, Answer]] = []
        while not done:
            for output in self._step():
                name, _, part = output.request_id.partition(".")
                answer = self._scored(int(name), int(part), output) if part else _drawn(output)
                if answer is not None:
                    done.append((int(name), answer))
        return done

    def close(self) -> None:
        """End vLLM's processes in order; the watcher ends what is left."""
        if self._engine is not None:
            self._engine.engine_core.shutdown()
            self._engine = None

    def _all(self, requests: Sequence[Prompt | ScoreRequest]) -> list[Answer]:
        """Answers to a batch, in order. Its tickets are none that were given before."""
        first = self._tickets
        for number, request in enumerate(requests):
            self.submit(first + number, request)
        found: dict[int, Answer] = {}
        while len(found) < len(requests):
            found.update(self.finished())
        return [found[first + number] for number in range(len(requests))]

    # --- vLLM's side ---

    def _add(self, name: str, ids: list[int], params: Any) -> None:
        try:
            self._engine.add_request(name, {"prompt_token_ids": ids}, params, lora_request=self._lora)
        except ValueError:
            raise
        except Exception as exc:
            raise self._broken(exc) from exc

    def _step(self) -> list[Any]:
        try:
            outputs: list[Any] = self._engine.step()
        except Exception as exc:
            raise self._broken(exc) from exc
        return [output for output in outputs if output.finished]

    def _broken(self, error: Exception) -> EngineBroken:
        """Whatever vLLM raises while it works ends its processes; a new worker starts new ones."""
        return EngineBroken(f"vLLM ended: {str(error).strip() or type(error).__name__}")

    def _drawing(self, prompt: Prompt) -> Any:
        assert self.tokenizer is not None
        spec = self._order.generate
        return self._vllm.SamplingParams(
            max_tokens=spec.max_tokens,
            temperature=spec.temperature,
            top_p=spec.top_p,
            top_k=spec.top_k,
            seed=prompt.seed,
            stop=list(prompt.stop) or None,
            stop_token_ids=[self.tokenizer.eos_token_id],
            logprobs=0,
            output_kind=self._final,
        )

    # --- given answers ---

    def _submit_scoring(self, ticket: int, request: ScoreRequest) -> None:
        """One request where each continuation is one token: they share the context. Else one for each."""
        (encoded,) = pairs.encode(self.tokenizer, [request])
        self._under_way[ticket] = _Scoring(encoded, {})
        last = [tokens[0] for tokens in encoded.continuations]
        if all(len(tokens) == 1 for tokens in encoded.continuations):
            params = self._scoring(logprob_token_ids=sorted(set(last)))
            self._add(f"{ticket}.0", encoded.context, params)
            return
        for number, tokens in enumerate(encoded.continuations, 1):
            self._add(f"{ticket}.{number}", encoded.context + tokens, self._scoring(prompt_logprobs=0))

    def _scoring(self, **wanted: Any) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=1, temperature=0.0, detokenize=False, output_kind=self._final, **wanted
        )

    def _scored(self, ticket: int, part: int, output: Any) -> Answer | None:
        """The scores of a request, once those of all its parts are there."""
        scoring = self._under_way[ticket]
        tokens = scoring.encoded.continuations
        if part == 0:
            drawn = output.outputs[0]
            likely, best = drawn.logprobs[0], drawn.token_ids[0]
            scoring.found = {
                number: Score(likely[token].logprob, 1, token == best)
                for number, (token,) in enumerate(tokens, 1)
            }
        else:
            own = tokens[part - 1]
            places = output.prompt_logprobs[-len(own) :]
            rows = [place[token] for place, token in zip(places, own, strict=True)]
            total = float(sum(row.logprob for row in rows))
            scoring.found[part] = Score(total, len(own), all(row.rank == 1 for row in rows))
        if len(scoring.found) < len(tokens):
            return None
        del self._under_way[ticket]
        return [scoring.found[number] for number in range(1, len(tokens) + 1)]


class _Scoring:
    """A request for scores, and those that are there by the number of their continuation, from 1."""

    def __init__(self, encoded: pairs.Encoded, found: dict[int, Score]) -> None:
        self.encoded = encoded
        self.found = found


def _drawn(output: Any) -> Answer:
    drawn = output.outputs[0]
    if drawn.finish_reason not in ("stop", "length"):
        return Failure(f"vLLM gave the request up: {drawn.finish_reason}")
    # An end token is among the tokens; a stop text has no token of its own to take off.
    ended = drawn.finish_reason == "stop" and not isinstance(drawn.stop_reason, str)
    likely = drawn.cumulative_logprob
    return Completion(
        drawn.text,
        len(output.prompt_token_ids),
        len(drawn.token_ids) - ended,
        drawn.finish_reason,
        None if likely is None else round(float(likely), 5),
    )
