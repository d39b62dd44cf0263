"""The last log lines, for screens that are about something else."""

from __future__ import annotations

from collections.abc import Hashable

from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line
from gpusess.tui.widgets.log_view import log_line
from gpusess.tui.widgets.pane import Pane


class LogTail(Pane):
    def on_mount(self) -> None:
        self.entitle("Log")

    def key(self, scene: Scene) -> Hashable:
        return scene.session.row.id if scene.session else None, scene.book.version if scene.book else 0

    def draw(self, scene: Scene, _width: int, height: int) -> list[Line]:
        lines = scene.book.lines[-height:] if scene.book else []
        return [log_line(line) for line in lines] or [[("no log lines yet", "dim")]]
