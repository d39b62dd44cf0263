"""The table of instances that nobody here knows, below the sessions. It takes no room where there are
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpusess.sessions.strangers import Stranger
from gpusess.tui import fmt
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line
from gpusess.tui.widgets.row_table import Column, RowTable

COLUMNS = (
    Column("UNKNOWN", 10, 10, 0),
    Column("INSTANCE", 12, 24, 0),
    Column("PROVIDER", 8, 12, 2),
    Column("TYPE", 8, 22, 4),
    Column("$/H", 6, 6, 0, "right"),
    Column("WHAT", 20, 44, 1, stretch=True),
    Column("LISTED", 9, 9, 3, "right"),
)

MOST = 6
"""Rows at most: more of them are scrolled to."""


def stranger_cells(stranger: Stranger, now: float) -> list[Line]:
    instance = stranger.instance
    return [
        [(f"▲ {instance.status}", "warn")],
        [(instance.id, "bold")],
        [(stranger.provider, "")],
        [(instance.type or fmt.NONE, "")],
        [(f"{instance.price:.2f}", "")],
        [(stranger.what, "")],
        [(f"{fmt.age(now - stranger.at)} ago", "dim")],
    ]


class StrangerTable(RowTable):
    """Its cursor is its own; `enter` on a row asks what to do with it."""

    @dataclass
    class Moved(RowTable.Moved):
        """The cursor is on another unknown instance."""

    @dataclass
    class Opened(RowTable.Opened):
        """A row was clicked that had the cursor already."""

    def __init__(self) -> None:
        super().__init__(COLUMNS, id="strangers")
        self.strangers: Sequence[Stranger] = ()

    @property
    def chosen(self) -> Stranger | None:
        return self.strangers[self.cursor] if self.cursor < len(self.strangers) else None

    def take(self, scene: Scene) -> None:
        """Show what the scene has."""
        self.strangers = scene.fleet.strangers
        count = len(self.strangers)
        self.set_class(not count, "-none")
        if not count:
            return
        rows, now = list(self.strangers), scene.fleet.now
        self.set_rows(count, lambda i: stranger_cells(rows[i], now))
        self.entitle(f"Unknown instances  {count}")
        self.styles.height = "1fr" if self.has_class("-kept") else min(count, MOST) + 2
