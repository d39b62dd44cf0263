"""One sample on both sides, and what of it is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.eval.sides import Record

TIE = 1e-3
"""Nats within which two choices are as good as each other."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Our result and the peer's sample."""

    ours: Record
    theirs: Record

    @property
    def prompts(self) -> bool:
        """Both have sent the same text."""
        return bool(self.ours["prompt"] == self.theirs["arguments"]["gen_args_0"]["arg_0"])

    @property
    def texts(self) -> bool:
        """Both have written the same answer."""
        return bool(self.ours["completion"] == self.theirs["resps"][0][0])

    @property
    def scores(self) -> tuple[list[float], list[float]]:
        return [s["logprob"] for s in self.ours["scores"]], [float(r[0][0]) for r in self.theirs["resps"]]

    @property
    def distance(self) -> float:
        """The largest difference of a log-likelihood, in nats."""
        return max(abs(a - b) for a, b in zip(*self.scores, strict=True))

    @property
    def same_choice(self) -> bool:
        """The likeliest choice is the same, or ties with theirs."""
        mine, peers = self.scores
        return max(peers) - peers[mine.index(max(mine))] <= TIE

    def same(self, metrics: Sequence[str]) -> bool:
        return all(self.ours["metrics"][name] == self.theirs[name] for name in metrics)


def paired(results: Sequence[Record], samples: Sequence[Record]) -> list[Pair]:
    """Both sides' records in the order of the rows."""
    assert len(results) == len(samples), "both sides answer the same rows"
    return [Pair(*pair) for pair in zip(results, samples, strict=True)]
