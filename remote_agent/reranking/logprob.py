"""The model's own opinion: the log-probability of each answer, as the engine recorded it."""

from __future__ import annotations

from collections.abc import Sequence

from remote_agent.protocol import RerankSpec
from remote_agent.reranking.base import Candidate, RerankError


class Logprob:
    """The sum over the answer's tokens, or with `normalise` the mean."""

    def __init__(self, spec: RerankSpec) -> None:
        self._normalise = spec.normalise

    def prepare(self) -> str:
        return "mean log-probability of a token" if self._normalise else "log-probability of the answer"

    def load(self) -> None:
        """Nothing is needed."""

    def score(self, candidates: Sequence[Candidate]) -> list[float]:
        return [self._one(candidate) for candidate in candidates]

    def _one(self, candidate: Candidate) -> float:
        if candidate.logprob is None:
            raise RerankError(
                f"the engine recorded no log-probability for {candidate.sample}. Next: leave this reranker "
                "out, or use an engine that gives them"
            )
        return candidate.logprob / max(1, candidate.tokens) if self._normalise else candidate.logprob
