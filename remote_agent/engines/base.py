"""What every engine has: it renders chats to text, counts tokens, and completes batches of prompts.

An engine is built from the order, then `prepare()` gets what is needed to render and check prompts (no GPU
memory is taken), then `load()` gets ready to generate. It knows nothing of tasks, grading or the journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Message = dict[str, str]


class EngineError(Exception):
    """The engine cannot work as ordered, and a restart would not cure it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The exact text that is sent, special tokens included, and the seed of its answer."""

    text: str
    seed: int = 0
    sample: str = ""
    candidate: int = 0
    stop: tuple[str, ...] = ()
    """Texts that end the answer; it is cut before the first of them."""
    messages: tuple[Message, ...] = ()
    """The chat that `text` was rendered from; empty for plain text."""

    @property
    def sha(self) -> str:
        return prompt_sha(self.text)


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. `finish` is `length` where `max_tokens` cut it off; end tokens are not counted."""

    text: str
    tokens_in: int
    tokens_out: int
    finish: Literal["stop", "length"]
    logprob: float | None = None
    """Sum of the natural log-probabilities of the completion's tokens, the end token included where one was
    drawn; None where the engine has none."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Continuations of one context, to be scored. `context` is the exact text, special tokens included.

    Context and continuation are split into tokens together, as one text: spaces at the context's end go to
    the continuation, and the continuation's tokens are those that the whole text has beyond the context's.
    """

    sample: str
    context: str
    continuations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """How likely a continuation is after its context.

    logprob: sum over its tokens, natural logarithm; tokens: how many; greedy: each of them is the most
    likely one at its place.
    """

    logprob: float
    tokens: int
    greedy: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that cannot be answered, while others can: its sample is at fault. `error` says why."""

    error: str


Answer = Completion | list[Score] | Failure


@dataclass(frozen=True, slots=True)
class Description:
    """What computes, for the record: the model, where its weights came from, and the dtype they run in."""

    model: str
    weights: str
    dtype: str
    how: str = ""
    """What about the way of computing a reader of the results should know; mostly nothing."""


class EngineBroken(Exception):
    """The engine's process is no longer fit for work (a GPU error, say): only a new worker helps."""


class Engine(Protocol):
    """Computes completions. Built as `EngineClass(order)`.

    An engine computes batches by `generate` and `score`, or, where `slots` is not 0, it may also be fed:
    `submit` takes one request, and `finished` waits for those that are ready. Requests of one sort only.
    """

    slots: int
    """Requests that it takes in flight at once by `submit`; 0: it computes batches only."""
    batch: int
    """Requests in one batch, where the order leaves that to the engine."""
    can_score: bool
    """Whether `score` works."""
    renders: bool
    """Whether `render` gives the text that the model gets; else a server renders the messages."""

    tokenizer: Any | None
    """After `prepare()`: a transformers tokenizer; None where the engine needs none."""
    context_window: int | None
    """Tokens that prompt and completion may have together; None: no limit is known."""
    embedding_rows: int | None
    """Token ids that the model has an embedding for; None: not known."""
    weight_bytes: int | None
    """Memory that the weights take in the dtype of the run; None: not known."""

    free_bytes: int | None
    """Memory that is free where the weights go; None: not known."""

    def prepare(self) -> None:
        """Get what rendering needs. Raises EngineError or models.ModelUnavailable."""
        ...

    def load(self) -> None:
        """Get ready to generate. Raises EngineError."""
        ...

    def take_over(self, other: Engine) -> bool:
        """Instead of `load()`: go on with the weights that `other` holds, where the two models differ in
        their adapter only. True: done, and `other` is of no use any more. Raises EngineError."""
        ...

    def describe(self) -> Description: ...

    def render(self, messages: Sequence[Message]) -> str:
        """The exact prompt text of a chat, with the cue for the assistant's turn."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each prompt text."""
        ...

    def expect(self, texts: Sequence[str]) -> None:
        """After `load()`: all prompt texts of the run, so that what they share is computed once.

        What is shared must not hang on the batch, or a result would depend on its neighbours.
        """
        ...

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """One completion a prompt, in order, each drawn with its own seed. Raises EngineBroken."""
        ...

    def document(self, text: str) -> str:
        """Plain text as the model expects a document: with the begin token where its tokenizer adds one."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[Score]]:
        """For each request, one score a continuation, in order. Raises EngineError where it cannot score."""
        ...

    def submit(self, ticket: int, request: Prompt | ScoreRequest) -> None:
        """Take up a request under a number that names it in `finished`. Raises EngineBroken."""
        ...

    def finished(self) -> list[tuple[int, Answer]]:
        """Wait until at least one request in flight is ready; all that are. Raises EngineBroken.

        Raises EngineError where no request can succeed (a wrong key, say).
        """
        ...

    def close(self) -> None:
        """Give back what it holds: its processes and connections."""
        ...


class BatchEngine:
    """What is common to engines that only compute batches."""

    slots = 0
    batch = 64
    can_score = False
    renders = True

    def take_over(self, other: Engine) -> bool:  # noqa: ARG002
        return False

    def document(self, text: str) -> str:
        return text

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[Score]]:  # noqa: ARG002
        raise EngineError("this engine cannot score. Next: take `transformers` or `vllm` for this task.")

    def submit(self, ticket: int, request: Prompt | ScoreRequest) -> None:
        raise NotImplementedError

    def finished(self) -> list[tuple[int, Answer]]:
        raise NotImplementedError

    def close(self) -> None:
        """It holds nothing that does not end with its process."""


def expect_completion(answer: Answer) -> Completion:
    """The completion that a prompt was answered with. Raises RuntimeError for a failure."""
    if isinstance(answer, Completion):
        return answer
    raise RuntimeError(answer.error if isinstance(answer, Failure) else "scores came for a prompt")


def expect_scores(answer: Answer) -> list[Score]:
    """The scores that a request was answered with. Raises RuntimeError for a failure."""
    if isinstance(answer, list):
        return answer
    raise RuntimeError(answer.error if isinstance(answer, Failure) else "a text came for a scoring")


def transcript(messages: Sequence[Message]) -> str:
    """A chat as plain text, for engines without a chat template: `role: content` a turn, then
    `assistant:`."""
    return "".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant:"


def prompt_sha(text: str) -> str:
    """SHA-256 of the exact prompt text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
