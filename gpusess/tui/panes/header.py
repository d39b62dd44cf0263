"""The head of the Run screen: what is evaluated, the way of its session, and how far it is."""

from __future__ import annotations

from gpusess.tui import status
from gpusess.tui.panes.progress import progress_line, trouble_lines
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, joined, spread
from gpusess.tui.widgets import timeline
from gpusess.tui.widgets.pane import Pane


class RunHeader(Pane, can_focus=False):
    """Three lines, and more where something is wrong."""

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        session, run = scene.session, scene.run
        if not session:
            return [[("No session is selected.", "dim")]]
        found = status.of(session)
        lines = [spread(self._what(scene), found.line(), width), timeline.line(session, width, found.ink)]
        if run and run.row.status != "pending":
            lines.append(progress_line(session, run, width))
        else:
            lines.append([("no run has begun", "dim")])
        return lines + trouble_lines(session, width, rows=2)

    def show(self, scene: Scene) -> None:
        if scene.session and self.size.width:
            trouble = len(trouble_lines(scene.session, self.size.width, rows=2))
            self.claim(3 + trouble)
        super().show(scene)

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
