"""The cockpit with another Run screen: a header, the live chart, and a table of a million rows below it."""

from __future__ import annotations

from textual.app import ComposeResult

from benchmarks import worlds
from gpusess.cli.attach import make_app
from gpusess.sessions.start import open_store
from gpusess.tui.app import CockpitApp
from gpusess.tui.panes.accuracy import AccuracyChart
from gpusess.tui.panes.figures import Now
from gpusess.tui.panes.header import RunHeader
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.spans import Line
from gpusess.tui.widgets.row_table import Column, RowTable

ROWS = 1_000_000
COLUMNS = (
    Column("ROW", 12, 12, 0),
    Column("ANSWER", 20, 80, 1, stretch=True),
    Column("TOKENS", 8, 8, 2, "right"),
)


def cells(row: int) -> list[Line]:
    """One row, made when it is drawn."""
    answer = "right" if row % 3 else "wrong"
    return [
        [(f"row {row:07}", "data")],
        [(f"{answer}: {row * 7919 % 997} dollars", "")],
        [(f"{row % 300}", "dim")],
    ]


class Both(CockpitScreen):
    """Everything that the figure names, on one screen."""

    def __init__(self) -> None:
        super().__init__("run")

    def compose_body(self) -> ComposeResult:
        yield RunHeader(id="header")
        chart, now = AccuracyChart(id="chart"), Now(id="now")
        chart.styles.height, now.styles.height = 15, 6
        yield chart
        yield now
        yield RowTable(COLUMNS, id="rows")

    def on_mount(self) -> None:
        self.query_one(RowTable).focus()

    def show(self, scene: Scene) -> None:
        for table in self.query(RowTable):
            table.set_rows(ROWS, cells)
        super().show(scene)


def main() -> None:
    """As `gpusess attach` does, on that screen."""
    CockpitApp.MODES = {**CockpitApp.MODES, "run": Both}
    store = open_store()
    make_app(store, worlds.LIVE).run()


if __name__ == "__main__":
    main()
