"""The GPU screen: the load of one session's GPUs over the last minutes, from its heartbeats."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from gpusess.tui.keys import bindings
from gpusess.tui.panes.gpu import COLUMNS, GpuHead, GpuPane, readings, row_cells
from gpusess.tui.panes.gpu_charts import GpuCharts, GpuGrid
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.widgets.row_table import RowTable


class GpuScreen(CockpitScreen):
    """A table over the charts of the row under the cursor; with `v`, or where all have room, a grid."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("gpu")

    def __init__(self) -> None:
        super().__init__("gpu")
        self.chosen = 0
        """The index of the GPU under the cursor."""
        self._gpus = 0
        self._grid: bool | None = None
        """What the user wants; None: a grid where all GPUs have room in it."""

    def compose_body(self) -> ComposeResult:
        yield GpuHead(id="gpu-head")
        yield RowTable(COLUMNS, id="gpus")
        yield GpuCharts(id="gpu-charts")
        yield GpuGrid(id="gpu-grid")

    def on_mount(self) -> None:
        self.query_one("#gpus").focus()

    def show(self, scene: Scene) -> None:
        if not self.query("#gpus"):
            return  # not composed yet
        samples = GpuPane.samples(scene)
        found = readings(samples)
        self._gpus = len(found)
        grid = self._wants_grid(len(found))
        table = self.query_one("#gpus", RowTable)
        table.set_class(not found or grid, "-none")
        self.query_one(GpuCharts).set_class(grid, "-none")
        self.query_one(GpuGrid).set_class(not grid, "-none")
        old = bool(scene.session and (scene.session.stale is not None or scene.session.kind == "done"))
        table.set_rows(len(found), lambda i: row_cells(found[i], samples, old))
        table.entitle("Load")
        table.styles.height = "1fr" if table.has_class("-kept") else min(len(found), 8) + 2
        self.chosen = table.cursor
        super().show(scene)

    def _wants_grid(self, gpus: int) -> bool:
        if gpus < 2 or self.zoomed:
            return False
        if self._grid is not None:
            return self._grid
        return self.size.width >= 160 and self.size.height >= 40

    def on_row_table_moved(self, message: RowTable.Moved) -> None:
        self.chosen = message.row
        self.cockpit.tick()

    def can(self, action: str) -> bool:  # noqa: ARG002 (there is one)
        return self._gpus > 1

    def action_grid(self) -> None:
        self._grid = not self._wants_grid(2)
        self.cockpit.tick()
