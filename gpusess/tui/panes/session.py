"""The Session screen's panes about the session: its head, its way with the usual times, and its runs. Those
about the instance are in session_instance.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gpusess.sessions import money
from gpusess.sessions.board import RunView, SessionView
from gpusess.sessions.phases import Phase, Usual, phases
from gpusess.sessions.states import State
from gpusess.tui import fmt, status
from gpusess.tui.panes.nothing import no_session
from gpusess.tui.panes.progress import eta_part, more_line, trouble_lines
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit, joined, spread
from gpusess.tui.widgets.pane import Pane
from gpusess.tui.widgets.timeline import GLYPHS

if TYPE_CHECKING:
    from gpusess.tui.screens.base import CockpitScreen

_LABEL = 11
_LATE, _LATE_SECONDS = 1.5, 15.0
"""A phase is late when it takes that much longer than usual, by that many seconds at least."""
_RUNS = {"running": ("●", "ok"), "complete": ("✓", "ok"), "failed": ("✗", "err"), "stopped": ("■", "warn")}


# --- the way ---


def way_lines(session: SessionView, known: dict[str, Usual], cells: int) -> list[Line]:
    """A phase a line: when it began, how long it took, how long it usually takes, what was said last."""
    found = phases(session)
    lines = [_way_line(phase, known.get(phase.name), session, cells) for phase in found]
    bars = cells - 76
    if bars >= 16:
        drawn = zip(lines, found, strict=True)
        lines = [[*fit(line, 74), *_span(phase, found, session, bars)] for line, phase in drawn]
    row = session.row
    if row.state is State.TERMINATED and row.ended:
        said = "the provider says that it is gone" if row.instance_id else "nothing was left to give back"
        lines.append([("✓ ", "ok"), *_when(row.ended), (f"{'':>9}  {said}", "dim")])
    return lines


def _way_line(phase: Phase, usually: Usual | None, session: SessionView, cells: int) -> Line:
    glyph, ink = GLYPHS[phase.mark]
    now = phase.mark in ("present", "failed")
    if phase.mark == "present":
        ink = status.of(session).ink
    line: Line = [(f"{glyph} ", ink), (f"{phase.name:<9}", f"{ink} bold" if now else "dim" * (ink == "dim"))]
    line += _when(phase.began) if phase.began else [(" " * 8, "")]
    late = _is_late(phase, usually)
    took = fmt.clock(phase.seconds) if phase.seconds is not None else fmt.NONE
    line += [(f"{took:>9}", "warn bold" if late else "bold" if now else "" if phase.seconds else "dim")]
    text = f"  usual {fmt.clock(usually.seconds)} ({usually.sessions})" if usually else ""
    line += fit([(text, "warn" if late else "dim")], 20)
    notes = [[("▲ longer than usual", "warn")]] if late else []
    notes += [[(f"{phase.times} times", "warn")]] if phase.times > 1 else []
    detail = session.row.detail if now else phase.detail
    notes += [[(detail, "" if now else "dim")]] if detail and cells > 60 else []
    return [*line, (" ", ""), *joined(notes, " · ")]


def _span(phase: Phase, every: list[Phase], session: SessionView, cells: int) -> Line:
    """Where the phase lies in the whole way, to scale."""
    began = min((p.began for p in every if p.began is not None), default=None)
    if began is None or phase.began is None or phase.seconds is None:
        return []
    end = session.row.ended or session.now
    scale = cells / max(1.0, end - began)
    first = min(cells - 1, int((phase.began - began) * scale))
    long = min(cells - first, max(1, round(phase.seconds * scale)))
    ink = status.of(session).ink if phase.mark == "present" else "err" if phase.mark == "failed" else "data"
    return [("─" * first, "faint"), ("━" * long, ink), ("─" * (cells - first - long), "faint")]


def _when(at: float) -> Line:
    return [(fmt.of_day(at), "dim")]


def _is_late(phase: Phase, usually: Usual | None) -> bool:
    if phase.mark != "present" or usually is None or phase.seconds is None:
        return False
    return phase.seconds > max(usually.seconds * _LATE, usually.seconds + _LATE_SECONDS)


class Way(Pane):
    """A phase a line, beside what is usual for it."""

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        session = scene.session
        self.entitle("The way")
        if not session:
            return no_session(width)
        known = cast("CockpitScreen", self.screen).usual(session)
        instance = (session.row.offer or {}).get("name") or "this type"
        self.entitle(
            f"The way   usual: median of other sessions on {instance}"
            if known
            else "The way   no other session on this type to compare with"
        )
        return way_lines(session, known, width)[:height]


# --- its runs ---


def run_lines(session: SessionView, cells: int) -> list[Line]:
    """A run a line: how far, how good, how long, for how much."""
    names = max([len(run.row.name) for run in session.runs] or [0])
    return [_run_line(session, run, min(names, max(10, cells // 3)), cells) for run in session.runs]


def _run_line(session: SessionView, run: RunView, name_cells: int, cells: int) -> Line:
    glyph, ink = _RUNS.get(run.row.status, ("○", "dim"))
    state = run.state
    line: Line = [(f"{glyph} ", ink), *fit([(run.row.name, "bold")], name_cells), ("  ", "")]
    if run.row.status == "pending":
        return [*line, ("waits", "dim")]
    parts: list[Line] = [[(run.row.status, ink)]]
    if state.total:
        parts.append([(f"{fmt.count(state.done)} / {fmt.count(state.total)}", "")])
    if run.row.status == "running" and cells > 70:
        parts.append(eta_part(session, run))
    if state.accuracy is not None:
        parts.append([(f"{fmt.percent(state.accuracy)}%", "bold"), (f" {fmt.plus_minus(state.band)}", "dim")])
    if run.row.started is not None and cells > 50:
        seconds = (run.row.ended if run.row.ended is not None else session.now) - run.row.started
        cost = money.run_spent(session.row, run.row, session.now)
        parts.append([(fmt.clock(seconds), ""), (f"  {fmt.money(cost)}", "dim")])
    return [*line, *joined(parts, "   ")]


class Runs(Pane):
    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        session = scene.session
        self.entitle(f"Runs  {len(session.runs)}" if session else "Runs")
        if not session:
            return []
        lines = run_lines(session, width)
        if len(lines) > height > 0:
            lines = [*lines[: height - 1], more_line(len(lines) - height + 1, "run")]
        return lines or [[("This session has no runs.", "dim")]]


# --- the head ---


def _since(session: SessionView) -> str:
    """How long it has been what it is; of one that has ended, how long it lived and when it went."""
    row = session.row
    if row.state is not State.TERMINATED:
        return f"for {fmt.clock(session.now - row.since)}"
    ended = row.ended or row.since
    return f"lived {fmt.clock(ended - row.created)}, ended {fmt.age(session.now - ended)} ago"


class SessionHead(Pane, can_focus=False):
    """What it is now in one line, and what is wrong in more."""

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        session = scene.session
        if not session:
            return [[("Session", "bold")]]
        found = status.of(session)
        since = _since(session)
        left: Line = [(session.row.name, "bold"), (f"   {session.row.job}", ""), (f"   {since}", "dim")]
        return [spread(left, found.line(), width), *trouble_lines(session, width, rows=2)]

    def show(self, scene: Scene) -> None:
        if self.size.width:
            trouble = trouble_lines(scene.session, self.size.width, rows=2) if scene.session else []
            self.claim(1 + len(trouble))
        super().show(scene)
