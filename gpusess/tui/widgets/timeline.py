"""A session's way in one line: its phases with their durations."""

from __future__ import annotations

from gpusess.sessions.board import SessionView
from gpusess.sessions.phases import Phase, phases
from gpusess.tui import fmt
from gpusess.tui.spans import Line, joined, width

GLYPHS = {"past": ("✓", "ok"), "present": ("●", "ok"), "failed": ("✗", "err"), "future": ("○", "dim")}


def line(session: SessionView, cells: int, present_ink: str = "ok") -> Line:
    """The phases in a row, with as much detail as there is room for."""
    found = phases(session)
    for detail in (2, 1, 0):
        separator = " ─ " if detail == 2 else "  "
        row = joined((_step(s, detail, present_ink) for s in found), separator)
        if width(row) <= cells:
            return row
    return joined((_step(s, 0, present_ink) for s in found if s.mark != "future"), " ")


def _step(step: Phase, detail: int, present_ink: str) -> Line:
    glyph, ink = GLYPHS[step.mark]
    now = step.mark in ("present", "failed")
    ink = present_ink if step.mark == "present" else ink
    text_ink = f"{ink} bold" if now else "dim"
    part: Line = [(f"{glyph} ", ink), (step.name, text_ink)]
    if step.seconds is not None and (now or detail):
        part.append((f" {fmt.clock(step.seconds)}", ink if now else "dim"))
    return part
