"""The state of one run as a fold over its records: the same live, in replay, in the CLI and in reports.

`fold(state, record)` takes the records of both journals in the order in which they stand. Nothing here
reads a clock: every time is a record's own `ts` (seconds since the epoch).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpusess.analysis import training_state
from gpusess.analysis.best_so_far import BestSoFar
from gpusess.analysis.run_parts import (
    AlarmRaised,
    Category,
    CurvePoint,
    Expected,
    Finding,
    Sample,
    Tally,
)
from gpusess.analysis.run_records import CURVE_POINTS, HANDLERS, settle, train
from gpusess.analysis.sweep_state import SweepState
from gpusess.analysis.training_state import TrainState

__all__ = [
    "CURVE_POINTS",
    "AlarmRaised",
    "Category",
    "CurvePoint",
    "Expected",
    "Finding",
    "RunState",
    "Sample",
    "fold",
    "fold_answer",
]

if TYPE_CHECKING:
    from gpusess.analysis.slim import Slim

Record = dict[str, Any]


@dataclass(slots=True)
class RunState(Tally):
    """All that is shown of a run. Counts are results (sample × candidate)."""

    task: str = ""
    model: str = ""
    weights: str = ""
    engine: str = ""
    dtype: str = ""
    headline: str = ""
    data: str = ""
    samples: int = 0
    candidates: int = 1
    """Answers drawn for each sample."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of Python and the engine's libraries, in the newest attempt."""
    codes: list[str] = field(default_factory=list)
    """The trees of code that its attempts ran with, without repetitions, the newest last."""
    settings: dict[str, str] = field(default_factory=dict)
    """What the numbers hang on beside the model, in words."""
    forced: list[str] = field(default_factory=list)
    """What the preflight would have stopped, had it not been forced."""
    expected: Expected | None = None
    alarm: AlarmRaised | None = None
    rerankers: list[str] = field(default_factory=list)
    scored: int = 0
    """Scores that rerankers have given."""
    best: BestSoFar = field(default_factory=BestSoFar)
    """Of runs with several answers a sample."""
    total: int = 0
    done: int = 0
    right: int = 0
    wrong: int = 0
    no_answer: int = 0
    truncated: int = 0
    empty: int = 0
    failed: int = 0
    disagree: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    in_flight: int = 0
    """Results that are being computed now."""
    categories: dict[str, Category] = field(default_factory=dict)
    curve: list[CurvePoint] = field(default_factory=list)
    curve_stride: int = 1
    phase: str = ""
    phase_detail: str = ""
    checks: list[Finding] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(sample, error) of samples that could not be computed."""
    attempt: int = 0
    crashes: int = 0
    repaired: int = 0
    """Bytes of torn tails that were cut off and set aside."""
    paused: str | None = None
    finished: tuple[str, str] | None = None
    """The worker's last word, (outcome, message); a new attempt takes it back."""
    ended: tuple[str, str] | None = None
    """The supervisor's last word; a new supervisor takes it back."""
    first_result: float | None = None
    last_result: float | None = None
    last_record: float | None = None
    heartbeat: float | None = None
    """`ts` of the newest telemetry."""
    restart_in: float | None = None
    telemetry: deque[Sample] = field(default_factory=lambda: deque(maxlen=600))
    recent: deque[tuple[float, int, int]] = field(default_factory=deque)
    """(ts, done, tokens_out) of the last RATE_WINDOW seconds."""
    train: TrainState | None = None
    """Of a training; `done` and `total` then count steps."""
    sweep: SweepState | None = None
    """Of a sweep; `categories` are then its checkpoints, and `right` counts those of the one at hand."""
    arm: str = ""
    """Where only one checkpoint of a sweep was read: its name, and its step."""
    step: int = 0
    version: int = 0
    """Grows with every record: what has not changed need not be drawn again."""

    @property
    def graded(self) -> int:
        """Of a training: the samples of its newest evaluation, which `right` counts; of a sweep: the graded
        results of the checkpoint at hand."""
        if self.sweep is not None:
            tally = self.categories.get(self.sweep.current)
            return tally.graded if tally else 0
        return self.train.evaluated if self.train else self.done - self.failed

    @property
    def curve_end(self) -> int:
        """Where the curve's x axis ends: results, or steps of a training or a sweep."""
        return self.sweep.last_step if self.sweep else self.total

    @property
    def outcome(self) -> str | None:
        """complete, failed or stopped, once nothing runs any more. The worker's own word comes first."""
        word = self.finished or self.ended
        return word[0] if word else None

    @property
    def message(self) -> str:
        """Why it ended so."""
        word = self.finished or self.ended
        return word[1] if word else ""

    @property
    def results_per_second(self) -> float | None:
        return self._rate(1)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens generated per second, over the last minute of results."""
        return self._rate(2)

    @property
    def eta(self) -> float | None:
        """Seconds until the last planned result at the present pace; None while it is not known."""
        rate = self.results_per_second
        if self.outcome or not rate or not self.total:
            return None
        return (self.total - self.done) / rate

    @property
    def finish(self) -> float | None:
        """When the last planned result comes at the present pace, in seconds since the epoch."""
        eta = self.eta
        return None if eta is None or self.last_result is None else self.last_result + eta

    @property
    def tokens_out_mean(self) -> float | None:
        """Tokens generated per graded result."""
        return self.tokens_out / self.graded if self.graded else None

    def _rate(self, column: int) -> float | None:
        if len(self.recent) < 2:
            return None
        first, last = self.recent[0], self.recent[-1]
        span = last[0] - first[0]
        return (last[column] - first[column]) / span if span > 0 else None


def fold(state: RunState, record: Record) -> RunState:
    """Take one record into the state (in place) and return it. Unknown kinds change only the version."""
    kind = record["kind"]
    handler = HANDLERS.get(kind)
    if handler:
        handler(state, record)
    elif kind in training_state.HANDLERS:
        train(state, record)
    return _recorded(state, record["ts"])


def fold_answer(state: RunState, answer: Slim) -> RunState:
    """The same for a `result` record without its long texts: most records are results."""
    settle(state, answer)
    return _recorded(state, answer.ts)


def _recorded(state: RunState, ts: float) -> RunState:
    if state.last_record is None or ts > state.last_record:
        state.last_record = ts
    state.version += 1
    return state
