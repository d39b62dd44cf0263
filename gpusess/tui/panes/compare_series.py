"""Which runs are compared, their letters and their colours, and their curves on one pair of axes. Pure
functions over the scene; the letters tell the runs apart where the colours do not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil, floor
from zlib import crc32

from gpusess.analysis.run_state import RunState
from gpusess.sessions.board import FleetView, RunView, SessionView
from gpusess.tui.widgets.line_chart import Point, Scale, Series, nice_step, settled

INKS = ("data", "warn", "ok", "info", "spark")
MOST = 8
"""So many runs at once; more curves in one chart tell nothing."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the runs that are compared."""

    letter: str
    label: str
    ink: str
    run: RunView


def chosen(
    fleet: FleetView, marked: Collection[str], session: SessionView | None, base: int
) -> list[Compared]:
    """The runs of the marked sessions; without marks, those of the session that is looked at. The one at
    `base` stands first: the others are held against it."""
    sessions = [s for s in fleet.sessions if s.row.id in marked] or ([session] if session else [])
    runs = [(s, run) for s in sessions for run in s.runs if run.row.status != "pending"][:MOST]
    turn = base % len(runs) if runs else 0
    runs = runs[turn:] + runs[:turn]
    alone = {s.row.id: sum(r.row.status != "pending" for r in s.runs) == 1 for s in sessions}
    labels = [s.row.name if alone[s.row.id] else f"{s.row.name}/{run.row.name}" for s, run in runs]
    inks = _inks(labels)
    return [
        Compared(chr(ord("A") + i), label, inks[label], run)
        for i, (label, (_, run)) in enumerate(zip(labels, runs, strict=True))
    ]


def _inks(labels: list[str]) -> dict[str, str]:
    """A run's colour hangs on its name; where two would be alike, the next free one."""
    found: dict[str, str] = {}
    for label in sorted(labels):
        at = crc32(label.encode()) % len(INKS)
        order = [INKS[(at + i) % len(INKS)] for i in range(len(INKS))]
        found[label] = next((ink for ink in order if ink not in found.values()), order[0])
    return found


def axis_of(runs: list[Compared]) -> str:
    """What is along: results, steps of a training, or where both are compared, shares of the whole."""
    kinds = {run.run.state.train is not None for run in runs}
    return "percent" if len(kinds) > 1 else "steps" if kinds == {True} else "results"


def series_of(runs: list[Compared], axis: str) -> list[Series]:
    """The accuracies, each over its own results or steps."""
    return [Series(_points(run.run.state, axis), run.ink, run.letter) for run in runs]


def _points(state: RunState, axis: str) -> list[Point]:
    scale = 100 / max(1, state.total) if axis == "percent" else 1.0
    return [(p.n * scale, p.accuracy, p.low, p.high) for p in state.curve]


def scale_of(series: list[Series], runs: list[Compared], axis: str) -> Scale:
    """All of the curves; of evaluations without their first jumps, which say nothing yet."""
    total = max((run.run.state.total for run in runs), default=1)
    last = max((one.points[-1][0] for one in series if one.points), default=1.0)
    x_max = 100.0 if axis == "percent" else float(max(last, 1.0 if last < total else total))
    values: list[float] = []
    for one, run in zip(series, runs, strict=True):
        values += [p[1] for p in (one.points if run.run.state.train else settled(one.points))]
    low, high = min(values, default=0.0), max(values, default=1.0)
    step = nice_step(max(0.02, high - low), 4)
    low, high = max(0.0, floor(low / step) * step), min(1.0, ceil(high / step) * step)
    return Scale(x_max, low, max(high, low + 0.01))
