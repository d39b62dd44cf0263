"""Best of N while a run goes on: the oracle and each reranker's picks, folded result by result.

The whole picture, with intervals, is `best_of.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class BestSoFar:
    """Samples with several answers. Only filled where the plan draws more than one."""

    right: dict[tuple[str, int], bool] = field(default_factory=dict)
    """(sample, candidate) → whether it is right."""
    solved: dict[str, bool] = field(default_factory=dict)
    """Sample → whether any of its answers is right."""
    top: dict[str, dict[str, tuple[float, int, int]]] = field(default_factory=dict)
    """Reranker → sample → (best score, answers with that score, right ones among them)."""

    def result(self, sample: str, candidate: int, right: bool) -> None:
        self.right[sample, candidate] = right
        self.solved[sample] = self.solved.get(sample, False) or right

    def scored(self, reranker: str, sample: str, candidate: int, score: float) -> None:
        right = self.right.get((sample, candidate), False)
        tops = self.top.setdefault(reranker, {})
        best = tops.get(sample)
        if best is None or score > best[0]:
            tops[sample] = (score, 1, int(right))
        elif score == best[0]:
            tops[sample] = (score, best[1] + 1, best[2] + right)

    @property
    def oracle(self) -> float | None:
        """The share of samples with a right answer; None before the first."""
        return sum(self.solved.values()) / len(self.solved) if self.solved else None

    def reranked(self) -> dict[str, float]:
        """Reranker → accuracy of its picks so far; ties are broken by chance."""
        return {
            name: sum(right / count for _, count, right in tops.values()) / len(tops)
            for name, tops in self.top.items()
        }
