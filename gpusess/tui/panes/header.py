"""The head of the Run screen: what is evaluated, the way of its session, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gpusess.sessions.board import SessionView
from gpusess.sessions.states import State
from gpusess.tui import status
from gpusess.tui.panes.progress import progress_line, trouble_lines, waiting_lines
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, joined, spread
from gpusess.tui.widgets import timeline
from gpusess.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from gpusess.tui.screens.base import CockpitScreen


class RunHeader(Pane, can_focus=False):
    """Three lines, and more where something is wrong."""

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        session, run = scene.session, scene.run
        if not session:
            return [[("No session yet", "bold")]]
        found = status.of(session)
        lines = [spread(self._what(scene), found.line(), width), timeline.line(session, width, found.ink)]
        if run and run.row.status != "pending":
            lines.append(progress_line(session, run, width))
        else:
            known = cast("CockpitScreen", self.screen).usual(session)
            waits = waiting_lines(session, known, width)[:1]
            lines += waits or [[("no run has begun", "dim")]]
        return lines + self._beside(session, width)

    def show(self, scene: Scene) -> None:
        if scene.session and self.size.width:
            self.claim(3 + len(self._beside(scene.session, self.size.width)))
        super().show(scene)

    def _beside(self, session: SessionView, width: int) -> list[Line]:
        """What is wrong; and of a session that ends, what it does and why."""
        lines = trouble_lines(session, width, rows=2)
        if session.row.state in (State.DRAINING, State.TERMINATING):
            lines += waiting_lines(session, cast("CockpitScreen", self.screen).usual(session), width)
        return lines

    @staticmethod
    def _what(scene: Scene) -> Line:
        session, run = scene.session, scene.run
        assert session
        if not run:
            return [(session.row.name, "bold")]
        state = run.state
        engine = f"{state.engine} {state.dtype}".strip()
        rest = (state.model, engine, status.gpu(session))
        return joined([[(state.task or run.row.name, "bold")], *([(x, "")] for x in rest if x)], " · ", "dim")
