"""What every reranker has, and what it gets to see of an answer. The right answer is not among it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from remote_agent.tasks.base import Message


class RerankError(Exception):
    """A reranker cannot work, and a restart would not cure it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer of a sample."""

    sample: str
    candidate: int
    context: str | list[Message]
    """What was asked: the chat, or the exact text."""
    completion: str
    tokens: int
    """Tokens of the completion."""
    logprob: float | None
    """Natural log-probability of the completion, where the engine gave one."""


class Reranker(Protocol):
    """Scores answers; a higher score is a better one. Built from its spec."""

    def prepare(self) -> str:
        """Look whether it can work, without GPU memory; what it is, for the record. Raises RerankError."""
        ...

    def load(self) -> None:
        """Get ready to score. Raises RerankError."""
        ...

    def score(self, candidates: Sequence[Candidate]) -> list[float]:
        """One finite score a candidate, in order. Raises RerankError."""
        ...
