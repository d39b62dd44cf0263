"""The state of one run as a fold over its records: the same live, in replay, in the CLI and in reports.

`fold(state, record)` takes the records of both journals in the order in which they stand. Nothing here
reads a clock: every time is a record's own `ts` (seconds since the epoch).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gpusess.analysis import training_state
from gpusess.analysis.best_so_far import BestSoFar
from gpusess.analysis.intervals import wilson
from gpusess.analysis.training_state import TrainState

Record = dict[str, Any]

CURVE_POINTS = 2048
"""Above that many points the curve keeps every second one."""

STEP_WINDOW = 600.0
"""Seconds over which a training's steps/s are taken: they come slower, and evaluations lie between them."""

RATE_WINDOW = 60.0
"""Seconds over which tokens/s and results/s are taken."""


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
    version: int = 0
    """Grows with every record: what has not changed need not be drawn again."""

    @property
    def graded(self) -> int:
        """Of a training: the samples of its newest evaluation, which `right` counts."""
        return self.train.evaluated if self.train else self.done - self.failed

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
    handler = _HANDLERS.get(record["kind"])
    if handler:
        handler(state, record)
    elif record["kind"] in training_state.HANDLERS:
        _training(state, record)
    state.last_record = max(state.last_record or 0.0, record["ts"])
    state.version += 1
    return state


def _training(state: RunState, r: Record) -> None:
    """A training's own figures are its own module's; here they become what every run shows."""
    if state.train is None:
        state.train = TrainState()
    train = state.train
    training_state.HANDLERS[r["kind"]](train, r)
    state.done, state.total, state.right = train.step, train.steps, train.right
    if r["kind"] == "train_planned":
        state.model, state.dtype, state.data = r["model"], r["dtype"], r["data"]
    elif r["kind"] == "step":
        state.first_result = state.first_result or r["ts"]
        state.last_result = r["ts"]
        state.recent.append((r["ts"], train.step, train.tokens))
        while len(state.recent) > 2 and state.recent[1][0] < r["ts"] - STEP_WINDOW:
            state.recent.popleft()
    elif r["kind"] in ("evaluated", "continued", "guarded"):
        state.task = train.task
        state.curve = [
            CurvePoint(e.step, e.right / max(1, e.samples), *wilson(e.right, e.samples))
            for e in train.evaluations
        ]
        if r["kind"] != "evaluated":
            state.recent.clear()


def _opened(state: RunState, r: Record) -> None:
    state.attempt = r["attempt"]
    state.repaired += r["repaired"]
    state.checks = []
    state.versions = r.get("versions", {})
    state.finished = state.paused = None
    state.recent.clear()


def _check(state: RunState, r: Record) -> None:
    state.checks.append(Finding(r["name"], r["status"], r["message"]))


def _phase(state: RunState, r: Record) -> None:
    state.phase, state.phase_detail = r["name"], r["detail"]


def _planned(state: RunState, r: Record) -> None:
    state.task, state.model, state.engine, state.dtype = r["task"], r["model"], r["engine"], r["dtype"]
    state.weights = r.get("weights", "")
    state.headline, state.data, state.total = r["headline"], r["data"], r["total"]
    state.samples, state.candidates = r["samples"], r["candidates"]
    # Older journals lack what follows.
    state.settings, state.forced = r.get("settings", {}), r.get("forced", [])
    state.rerankers = r.get("rerankers", [])
    expect = r.get("expect")
    state.expected = Expected(expect["low"], expect["high"], expect["says"]) if expect else None
    for name, planned in r["categories"].items():
        state.categories.setdefault(name, Category()).planned = planned


def _begin(state: RunState, r: Record) -> None:
    # The pace is measured from the first batch's start, so that the first results already give one.
    if not state.recent:
        state.recent.append((r["ts"], state.done, state.tokens_out))
    state.in_flight += len(r["keys"])


def _result(state: RunState, r: Record) -> None:
    verdict, reason = r["verdict"], r["reason"]
    state.done += 1
    state.right += verdict == "right"
    state.wrong += verdict == "wrong"
    state.no_answer += verdict == "no_answer"
    state.truncated += reason == "truncated"
    state.empty += reason == "empty"
    state.disagree += bool(r["disagree"])
    state.tokens_in += r["tokens_in"]
    state.tokens_out += r["tokens_out"]
    category = state.categories.setdefault(r["category"], Category())
    category.done += 1
    category.right += verdict == "right"
    if state.candidates > 1:
        state.best.result(r["sample"], r["candidate"], verdict == "right")
    _settled(state, r["ts"])
    _extend_curve(state)


def _failed(state: RunState, r: Record) -> None:
    state.done += 1
    state.failed += 1
    state.failures.append((r["sample"], r["error"]))
    category = state.categories.setdefault(r["category"], Category())
    category.done += 1
    category.failed += 1
    _settled(state, r["ts"])


def _settled(state: RunState, ts: float) -> None:
    state.in_flight = max(0, state.in_flight - 1)
    state.first_result = ts if state.first_result is None else state.first_result
    state.last_result = ts
    recent = state.recent
    if recent and recent[-1][0] == ts:
        recent[-1] = (ts, state.done, state.tokens_out)
    else:
        recent.append((ts, state.done, state.tokens_out))
    while len(recent) > 2 and recent[1][0] < ts - RATE_WINDOW:
        recent.popleft()


def _extend_curve(state: RunState) -> None:
    if state.graded % state.curve_stride:
        return
    low, high = wilson(state.right, state.graded)
    state.curve.append(CurvePoint(state.graded, state.right / state.graded, low, high))
    if len(state.curve) > CURVE_POINTS:
        state.curve_stride *= 2
        state.curve = [p for p in state.curve if p.n % state.curve_stride == 0]


def _alarm(state: RunState, r: Record) -> None:
    state.alarm = AlarmRaised(r["message"], tuple(r["causes"]), r["results"], r["paused"])


def _scored(state: RunState, r: Record) -> None:
    state.scored += 1
    state.best.scored(r["reranker"], r["sample"], r["candidate"], r["score"])


def _crash(state: RunState, _: Record) -> None:
    state.crashes += 1


def _paused(state: RunState, r: Record) -> None:
    state.paused = r["reason"]


def _unpaused(state: RunState, _: Record) -> None:
    state.paused = None


def _finished(state: RunState, r: Record) -> None:
    state.finished = (r["outcome"], r["message"])


def _supervisor(state: RunState, _: Record) -> None:
    state.ended = None


def _worker_exited(state: RunState, r: Record) -> None:
    state.restart_in = r["restart_in"]


def _worker_started(state: RunState, _: Record) -> None:
    state.restart_in = None


def _telemetry(state: RunState, r: Record) -> None:
    state.heartbeat = r["ts"]
    gpus = tuple(r["gpus"])
    state.telemetry.append(
        Sample(r["ts"], r["cpu"], r["mem_used"], r["mem_total"], r["disk_free"], r["worker_rss"], gpus)
    )


def _ended(state: RunState, r: Record) -> None:
    state.ended = (r["outcome"], r["message"])


_HANDLERS: dict[str, Callable[[RunState, Record], None]] = {
    "opened": _opened,
    "check": _check,
    "phase": _phase,
    "planned": _planned,
    "begin": _begin,
    "result": _result,
    "failed": _failed,
    "alarm": _alarm,
    "scored": _scored,
    "crash": _crash,
    "paused": _paused,
    "unpaused": _unpaused,
    "finished": _finished,
    "supervisor": _supervisor,
    "worker_started": _worker_started,
    "worker_exited": _worker_exited,
    "telemetry": _telemetry,
    "ended": _ended,
}
