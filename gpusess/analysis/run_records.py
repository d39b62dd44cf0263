"""How each kind of record changes a run's state: one function a kind, and the table of them.

`run_state.py` holds the state and is what everybody else calls; a training's own figures are in
`training_state.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gpusess.analysis import training_state
from gpusess.analysis.intervals import wilson
from gpusess.analysis.run_parts import AlarmRaised, Category, CurvePoint, Expected, Finding, Sample
from gpusess.analysis.sweep_state import Arm, Passed, SweepState, arm_of
from gpusess.analysis.training_state import TrainState

if TYPE_CHECKING:
    from gpusess.analysis.run_state import RunState
    from gpusess.analysis.slim import Slim

Record = dict[str, Any]

CURVE_POINTS = 2048
"""Above that many points the curve keeps every second one."""

STEP_WINDOW = 600.0
"""Seconds over which a training's steps/s are taken: they come slower, and evaluations lie between them."""

RATE_WINDOW = 60.0
"""Seconds over which tokens/s and results/s are taken."""

RATE_GRAIN = 0.1
"""Seconds between the moments that are kept of that window: so many results as may come, it stays small."""

FAILURES = 1000
"""So many failed samples are kept with their errors; the count goes on."""


def train(state: RunState, r: Record) -> None:
    """A training's own figures are its own module's; here they become what every run shows."""
    if state.train is None:
        state.train = TrainState()
    own = state.train
    training_state.HANDLERS[r["kind"]](own, r)
    state.done, state.total, state.right = own.step, own.steps, own.right
    if r["kind"] == "train_planned":
        state.model, state.dtype, state.data = r["model"], r["dtype"], r["data"]
    elif r["kind"] == "step":
        state.first_result = state.first_result or r["ts"]
        state.last_result = r["ts"]
        state.recent.append((r["ts"], own.step, own.tokens))
        while len(state.recent) > 2 and state.recent[1][0] < r["ts"] - STEP_WINDOW:
            state.recent.popleft()
    elif r["kind"] in ("evaluated", "continued", "guarded", "steered"):
        state.task = own.task
        state.curve = [
            CurvePoint(e.step, e.right / max(1, e.samples), *wilson(e.right, e.samples))
            for e in own.evaluations
        ]
        # Only where steps were taken back is the pace measured anew: an alarm alone does not change it.
        if r["kind"] != "evaluated" and r.get("action", "rollback") == "rollback":
            state.recent.clear()


def _opened(state: RunState, r: Record) -> None:
    state.attempt = r["attempt"]
    state.repaired += r["repaired"]
    state.checks = []
    state.versions = r.get("versions", {})
    code = r.get("code", "")
    if code and code not in state.codes[-1:]:
        state.codes.append(code)
    state.finished = state.paused = None
    state.recent.clear()


def _check(state: RunState, r: Record) -> None:
    state.checks.append(Finding(r["name"], r["status"], r["message"]))


def _phase(state: RunState, r: Record) -> None:
    state.phase, state.phase_detail = r["name"], r["detail"]


def _swept(state: RunState, r: Record) -> None:
    state.sweep = SweepState([Arm(arm["name"], arm["step"], arm["model"]) for arm in r["arms"]])
    state.task, state.total = r["task"], r["total"]
    each = r["samples"] * r["candidates"]
    state.categories = {arm.name: Category(planned=each) for arm in state.sweep.arms}


def _passed_over(state: RunState, r: Record) -> None:
    state.total -= r["left"]
    if state.sweep is not None:
        state.sweep.passed_over.append(Passed(r["name"], r["reason"]))


def _planned(state: RunState, r: Record) -> None:
    whole, counts = state.total, dict(state.categories)
    _plan(state, r)
    if state.sweep is not None:  # the plan was that of one of its checkpoints
        state.total, state.categories = whole, counts


def _plan(state: RunState, r: Record) -> None:
    state.arm, state.step = r.get("arm", ""), r.get("step", 0)
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


class _Read(NamedTuple):
    """What counts of a `result` record."""

    ts: float
    sample: str
    candidate: int
    category: str
    verdict: str
    reason: str
    disagree: bool
    tokens_in: int
    tokens_out: int


def _result(state: RunState, r: Record) -> None:
    settle(state, _Read(*(r[name] for name in _Read._fields)))


def settle(state: RunState, r: Slim | _Read) -> None:
    """One graded answer."""
    verdict, reason = r.verdict, r.reason
    state.done += 1
    name = r.category if state.sweep is None else arm_of(r.sample)
    category = state.categories.get(name)
    if category is None:
        category = state.categories[name] = Category()
    category.done += 1
    if verdict == "right":
        state.right += 1
        category.right += 1
    elif verdict == "wrong":
        state.wrong += 1
    elif verdict == "no_answer":
        state.no_answer += 1
    if reason == "truncated":
        state.truncated += 1
    elif reason == "empty":
        state.empty += 1
    if r.disagree:
        state.disagree += 1
    state.tokens_in += r.tokens_in
    state.tokens_out += r.tokens_out
    if state.candidates > 1:
        state.best.result(r.sample, r.candidate, verdict == "right")
    _settled(state, r.ts)
    if state.sweep is not None:
        _of_arm(state, state.sweep, name)
    elif not state.graded % state.curve_stride:
        _extend_curve(state)


def _of_arm(state: RunState, sweep: SweepState, name: str) -> None:
    """An accuracy is that of one checkpoint, never of several together; the curve is over their steps."""
    sweep.current = name
    state.right = state.categories[name].right
    tallies = [(arm.step, state.categories[arm.name]) for arm in sweep.arms]
    state.curve = [
        CurvePoint(step, tally.right / tally.graded, *wilson(tally.right, tally.graded))
        for step, tally in tallies
        if tally.graded
    ]


def _failed(state: RunState, r: Record) -> None:
    state.done += 1
    state.failed += 1
    if len(state.failures) < FAILURES:
        state.failures.append((r["sample"], r["error"]))
    name = r["category"] if state.sweep is None else arm_of(r["sample"])
    category = state.categories.setdefault(name, Category())
    category.done += 1
    category.failed += 1
    _settled(state, r["ts"])


def _settled(state: RunState, ts: float) -> None:
    if state.in_flight:
        state.in_flight -= 1
    if state.first_result is None:
        state.first_result = ts
    state.last_result = ts
    recent = state.recent
    moment = (ts, state.done, state.tokens_out)
    if len(recent) > 1 and recent[-1][0] - recent[-2][0] < RATE_GRAIN:
        recent[-1] = moment
        return
    if recent and recent[-1][0] == ts:
        recent[-1] = moment
    else:
        recent.append(moment)
    while len(recent) > 2 and recent[1][0] < ts - RATE_WINDOW:
        recent.popleft()


def _extend_curve(state: RunState) -> None:
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


HANDLERS: dict[str, Callable[[RunState, Record], None]] = {
    "opened": _opened,
    "check": _check,
    "phase": _phase,
    "planned": _planned,
    "swept": _swept,
    "passed_over": _passed_over,
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
