"""What a run's state is made of: points of its curve, load, findings, and what follows from counts. Plain
values; the fold that makes them is `run_records.py`, and `run_state.py` holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from gpusess.analysis.intervals import wilson


class CurvePoint(NamedTuple):
    """Accuracy after `n` results, with its 95% Wilson band."""

    n: int
    accuracy: float
    low: float
    high: float


class Sample(NamedTuple):
    """One moment of an instance's load. CPU and GPU in percent, memory in bytes."""

    ts: float
    cpu: float
    mem_used: int
    mem_total: int
    disk_free: int
    worker_rss: int
    gpus: tuple[dict[str, Any], ...]


class Finding(NamedTuple):
    """One finding of the preflight."""

    name: str
    status: str
    message: str


class Expected(NamedTuple):
    """The accuracies that the run should come out at, and where they come from."""

    low: float
    high: float
    says: str


class AlarmRaised(NamedTuple):
    """The accuracy cannot be what was expected any more."""

    message: str
    causes: tuple[str, ...]
    results: int
    paused: bool


class Tally:
    """What follows from counts of results: `done`, `right` and `failed` are the subclass's fields."""

    __slots__ = ()
    done: int
    right: int
    failed: int

    @property
    def graded(self) -> int:
        """Results with a verdict: the denominator of the accuracy. A failed sample has none."""
        return self.done - self.failed

    @property
    def accuracy(self) -> float | None:
        """right / graded; what gave no answer counts as not right."""
        return self.right / self.graded if self.graded else None

    @property
    def band(self) -> tuple[float, float] | None:
        """95% Wilson interval of the accuracy."""
        return wilson(self.right, self.graded) if self.graded else None


@dataclass(slots=True)
class Category(Tally):
    """Results in one category."""

    planned: int = 0
    done: int = 0
    right: int = 0
    failed: int = 0
