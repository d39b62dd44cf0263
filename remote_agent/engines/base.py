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


@dataclass(frozen=True, slots=True)
class Description:
    """What computes, for the record: the model, where its weights came from, and the dtype they run in."""

    model: str
    weights: str
    dtype: str


class EngineBroken(Exception):
    """The engine's process is no longer fit for work (a GPU error, say): only a new worker helps."""


class Engine(Protocol):
    """Computes completions. Built as `EngineClass(order)`."""

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


def prompt_sha(text: str) -> str:
    """SHA-256 of the exact prompt text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
