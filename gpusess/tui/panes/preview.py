"""The preview of the row under the fleet's cursor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from gpusess.sessions.board import RunView, SessionView
from gpusess.sessions.phases import Usual
from gpusess.tui import fmt, status
from gpusess.tui.panes.figures import category_lines
from gpusess.tui.panes.nothing import no_session
from gpusess.tui.panes.progress import progress_line, trouble_lines, waiting_lines
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, joined
from gpusess.tui.widgets import timeline
from gpusess.tui.widgets.line_chart import settled
from gpusess.tui.widgets.meter import spark
from gpusess.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from gpusess.tui.screens.base import CockpitScreen


def preview_lines(session: SessionView, known: Mapping[str, Usual], width: int) -> list[Line]:
    """Where it is, what it computes, how far it is, and what is wrong."""
    ink = status.of(session).ink
    lines = [timeline.line(session, width, ink)]
    lines += trouble_lines(session, width)
    lines.append(_machine(session))
    run = session.run
    lines += waiting_lines(session, known, width)
    if run is None:
        return [*lines, [], [("This session has no runs.", "dim")]]
    lines += [_what(run), []] if run.state.model else [[]]
    if run.row.status == "pending":
        starting, over = session.kind == "starting", session.kind in ("failed", "done")
        waiting = "waits for the instance" if starting else "has not begun" if over else "waits for its turn"
        return [*lines, [(f"{run.row.name} {waiting}", "dim")]]
    return [*lines, progress_line(session, run, width), *_figures(session, run, width), _others(session)]


def _machine(session: SessionView) -> Line:
    row, offer = session.row, session.row.offer or {}
    price = f"{fmt.money(row.price)}/h, {fmt.money(session.spent)} so far" if session.bills else ""
    where = (row.provider, offer.get("region", ""), offer.get("name", ""), row.instance_id or "")
    # What it costs stands before what may be cut off.
    parts = (status.gpu(session), price, *where)
    return joined(([(str(part), "")] for part in parts if part), " · ", "dim")


def _others(session: SessionView) -> Line:
    """The runs of the session where there is more than one."""
    if len(session.runs) < 2:
        return []
    inks = {"running": "ok", "complete": "ok", "failed": "err", "stopped": "warn"}
    runs = ([(r.row.name, ""), (f" {r.row.status}", inks.get(r.row.status, "dim"))] for r in session.runs)
    return [("runs   ", "dim"), *joined(runs, "   ")]


def _what(run: RunView) -> Line:
    state = run.state
    pairs = (
        ("model", state.model),
        ("task", state.task),
        ("engine", f"{state.engine} {state.dtype}".strip()),
    )
    return joined(([(f"{name} ", "dim"), (value, "")] for name, value in pairs if value), "   ")


def _figures(session: SessionView, run: RunView, width: int) -> list[Line]:
    state = run.state
    lines: list[Line] = []
    cells = max(10, min(60, width - 24))
    if state.accuracy is not None:
        curve = spark([p.accuracy for p in settled(state.curve)], cells)
        value: Line = [(fmt.percent(state.accuracy), "bold"), (f" {fmt.plus_minus(state.band):<6}", "dim")]
        forced: Line = [("forced ", "warn")] if state.forced else []
        lines.append([("acc    ", "dim"), *value, (" ", ""), *forced, (curve, "spark")])
    if state.telemetry and session.kind != "done":
        gpus = [s.gpus[0]["util"] or 0.0 for s in state.telemetry if s.gpus]
        values = gpus or [s.cpu for s in state.telemetry]
        name = "gpu    " if gpus else "cpu    "
        lines.append(
            [
                (name, "dim"),
                (f"{values[-1]:>3.0f}%        ", ""),
                (spark(values[-cells:], cells, 0, 100), "spark"),
            ]
        )
    return [*lines, _beat(session, run)]


def _beat(session: SessionView, run: RunView) -> Line:
    state = run.state
    if session.kind == "done" or state.heartbeat is None:
        return []
    beat = session.now - state.heartbeat
    ink = "warn" if session.stale is not None else ""
    parts: list[Line] = [[("beat   ", "dim"), (f"{fmt.age(beat)} ago", ink)]]
    parts += [[(f"{state.failed}", "warn"), (" failed", "dim")]] if state.failed else []
    if state.crashes:
        parts.append([(f"{state.crashes}", "warn"), (" crash" if state.crashes == 1 else " crashes", "dim")])
    return joined(parts, "   ")


class Preview(Pane):
    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        session = scene.session
        self.entitle(session.row.name if session else "Session")
        if not session:
            return no_session(width)
        lines = preview_lines(session, cast("CockpitScreen", self.screen).usual(session), width)
        categories = scene.run.state.categories if scene.run else {}
        if categories and height - len(lines) > len(categories):
            lines += [[], *category_lines(categories, min(width, 100))]
        return lines[:height]
