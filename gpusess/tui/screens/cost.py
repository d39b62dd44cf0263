"""The Cost screen: what was spent, by session, provider, day or instance; what it comes to; what the
providers say themselves, and what bills beside instances.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from gpusess.errors import GpusessError
from gpusess.sessions import spending
from gpusess.sessions.leftovers import Found
from gpusess.sessions.spending import By
from gpusess.tui.keys import bindings
from gpusess.tui.panes.cost import (
    COLUMNS,
    PERIODS,
    VIEWS,
    Beside,
    BesidePane,
    CostHead,
    Days,
    Listings,
    Today,
    row_cells,
)
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.spans import Line
from gpusess.tui.widgets.row_table import RowTable

_EMPTY: list[Line] = [[], [("  Nothing was spent in this time.", "dim")]]


class CostScreen(CockpitScreen):
    """At 80×24 the table and the day have room; `tab` and `z` bring the other panes."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("cost")

    def __init__(self) -> None:
        super().__init__("cost")
        self.by: By = "session"
        self.period = next(iter(PERIODS))
        self.beside = Beside()
        self._rows: list[spending.Sum] = []

    @property
    def table(self) -> RowTable:
        return self.query_one("#sums", RowTable)

    def compose_body(self) -> ComposeResult:
        yield CostHead(id="cost-head")
        with Horizontal(id="cost-upper"):
            yield RowTable(COLUMNS[self.by], id="sums")
            yield Days(id="days")
        with Horizontal(id="cost-lower"):
            yield Today(id="today")
            with Vertical(id="cost-said"):
                yield Listings(id="listings")
                yield BesidePane(id="beside")

    def on_mount(self) -> None:
        self.table.focus()
        self.action_ask()

    def show(self, scene: Scene) -> None:
        if not self.query("#sums"):
            return  # not composed yet
        days = PERIODS[self.period]
        since = 0.0 if days is None else spending.days_back(scene.fleet.now, days)
        found = spending.sums(scene.fleet, self.by, since)
        self._rows = [row for row in found if row.spent or row.burn]
        if self.by == "day":
            self._rows.reverse()
        total = sum(row.spent for row in self._rows)
        views = {view.row.id: view for view in scene.fleet.sessions}
        rows, by, table = self._rows, self.by, self.table
        table.empty = _EMPTY
        table.columns = COLUMNS[by]
        table.set_rows(len(rows), lambda i: row_cells(rows[i], by, total, views.get(rows[i].session)))
        table.entitle(f"By {by}, {self.period}")
        if scene.session and by == "session":
            # What keys act on is the row that has the cursor.
            ids = [row.session for row in rows]
            table.select(ids.index(scene.session.row.id) if scene.session.row.id in ids else table.cursor)
        super().show(scene)

    def on_row_table_opened(self, _: RowTable.Opened) -> None:
        self.action_open_row()

    def on_row_table_moved(self, message: RowTable.Moved) -> None:
        if session_id := self._rows[message.row].session:
            self.cockpit.look_at(session_id)

    def can(self, action: str) -> bool:
        if action == "open_row":
            return bool(self._rows) and self.by == "session"
        return action == "ask" or bool(self.cockpit.fleet.sessions)

    def action_open_row(self) -> None:
        """The session of the row, where it is one's."""
        if self._rows and (session_id := self._rows[self.table.cursor].session):
            self.cockpit.selected = session_id
            self.cockpit.action_open("session")

    def action_by(self) -> None:
        self.by = VIEWS[(VIEWS.index(self.by) + 1) % len(VIEWS)]
        self.table.select(0)
        self.cockpit.tick()

    def action_period(self) -> None:
        names = list(PERIODS)
        self.period = names[(names.index(self.period) + 1) % len(names)]
        self.cockpit.tick()

    def action_ask(self) -> None:
        """Ask the providers what else bills; what they said before stays until they have answered."""
        if self.beside.asking is None:
            self.beside = replace(self.beside, asking=self.cockpit.fleet.now)
            self._ask()
            self.cockpit.tick()

    @work(thread=True, exit_on_error=False, group="beside")
    def _ask(self) -> None:
        try:
            found = self.cockpit.intents.leftovers()
        except GpusessError as exc:
            found = [Found("", error=f"{exc.message} ({exc.hint})")]
        self.app.call_from_thread(self._take, found)

    def _take(self, found: list[Found]) -> None:
        self.beside = Beside(tuple(found), at=self.cockpit.fleet.now)
        self.cockpit.tick()
