"""A session's way in one line: its steps with their durations, taken from the store's transitions."""

from __future__ import annotations

from typing import NamedTuple

from gpusess.sessions.board import SessionView
from gpusess.sessions.states import State
from gpusess.tui import fmt
from gpusess.tui.spans import Line, joined, width

_STEPS: dict[State, str] = {
    State.REQUESTED: "launch",
    State.LAUNCHING: "launch",
    State.BOOTING: "boot",
    State.CONNECTING: "connect",
    State.PREPARING: "prepare",
    State.READY: "run",
    State.RUNNING: "run",
    State.DRAINING: "pull",
    State.TERMINATING: "end",
}
NAMES = tuple(dict.fromkeys(_STEPS.values()))


class Step(NamedTuple):
    """`seconds` is None where the step has not begun; a step that was taken again counts both times."""

    name: str
    seconds: float | None
    mark: str
    """past, present, failed or future."""


def steps(session: SessionView) -> list[Step]:
    """All steps in order; the present one is measured up to the board's now."""
    spent: dict[str, float] = {}
    present, mark = "", "present"
    moves = session.transitions
    for move, after in zip(moves, [*moves[1:], None], strict=True):
        step = _STEPS.get(move.state)
        if step is None:
            # A failure leaves the step before it as the place where it happened.
            mark = "failed" if move.state is State.FAILED else "past"
            continue
        present, mark = step, "present"
        end = after.at if after else session.now
        spent[step] = spent.get(step, 0.0) + max(0.0, end - move.at)
    return [
        Step(name, spent.get(name), mark if name == present else "past" if name in spent else "future")
        for name in NAMES
    ]


_GLYPHS = {"past": ("✓", "ok"), "present": ("●", "ok"), "failed": ("✗", "err"), "future": ("○", "dim")}


def line(session: SessionView, cells: int, present_ink: str = "ok") -> Line:
    """The steps in a row, with as much detail as there is room for."""
    found = steps(session)
    for detail in (2, 1, 0):
        separator = " ─ " if detail == 2 else "  "
        row = joined((_step(s, detail, present_ink) for s in found), separator)
        if width(row) <= cells:
            return row
    return joined((_step(s, 0, present_ink) for s in found if s.mark != "future"), " ")


def _step(step: Step, detail: int, present_ink: str) -> Line:
    glyph, ink = _GLYPHS[step.mark]
    now = step.mark in ("present", "failed")
    ink = present_ink if step.mark == "present" else ink
    text_ink = f"{ink} bold" if now else "dim"
    part: Line = [(f"{glyph} ", ink), (step.name, text_ink)]
    if step.seconds is not None and (now or detail):
        part.append((f" {fmt.clock(step.seconds)}", ink if now else "dim"))
    return part
