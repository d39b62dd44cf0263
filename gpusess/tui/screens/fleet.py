"""The Fleet screen: all sessions in a table, a preview of the one under the cursor, and today's spending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from gpusess.sessions.board import SessionView
from gpusess.sessions.phases import phases
from gpusess.sessions.strangers import Stranger
from gpusess.tui import fmt, hints, status
from gpusess.tui.keys import bindings
from gpusess.tui.panes.accuracy import AccuracyChart
from gpusess.tui.panes.log_tail import LogTail
from gpusess.tui.panes.preview import Preview
from gpusess.tui.panes.progress import time_left
from gpusess.tui.panes.spend import SpendChart
from gpusess.tui.reaching import ssh_command
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.spans import Line, width
from gpusess.tui.widgets.filter_line import FilterLine
from gpusess.tui.widgets.meter import bar
from gpusess.tui.widgets.row_table import Column, RowTable
from gpusess.tui.widgets.stranger_table import StrangerTable

COLUMNS = (
    Column("STATE", 13, 14, 0),
    Column("NAME", 11, 24, 0),
    Column("GPU", 10, 14, 4),
    Column("PHASE", 9, 22, 7),
    Column("JOB", 11, 26, 8),
    Column("PROGRESS", 11, 11, 2),
    Column("ETA", 7, 8, 3, "right"),
    Column("RESULT", 13, 14, 1, stretch=True),
    Column("LOAD", 4, 4, 9, "right"),
    Column("$/H", 6, 6, 5, "right"),
    Column("SPENT $", 7, 8, 6, "right"),
    Column("PROVIDER", 10, 12, 10),
    Column("AGE", 7, 7, 11, "right"),
)

HIGH = 50
"""Rows from which on the stylesheet shows the log below the preview (`-high`)."""

_MEASURED = 60
"""Rows whose cells decide how wide a column may grow."""


def _empty() -> list[Line]:
    launch: Line = [(f"  {hints.key('fleet.launch'):<18}", "data bold"), ("launches a session", "dim")]
    return [
        [],
        [("  No sessions yet.", "bold")],
        [],
        *([launch] if hints.acts() else []),
        [(f"  {'gpusess demo':<18}", "data bold"), ("shows the whole way on this computer", "dim")],
        [(f"  {'gpusess up SPEC':<18}", "data bold"), ("starts yours", "dim")],
    ]


def row_cells(session: SessionView, usually: str = "") -> list[Line]:
    """One session as a row of the table; a session that has ended is dim. usually: what is usual for where it
    stands, of one that is on its way."""
    row, run = session.row, session.run
    cells: list[Line] = [
        status.of(session).line(),
        [(row.name, "bold")],
        [(status.gpu(session), "")],
        status.phase(session),
        [(run.row.name if run else row.job, "")],
        _progress(session),
        [(fmt.clock(time_left(session, run)) if run else fmt.NONE, "")],
        status.result(session) or [(usually, "dim")],
        [(status.load(session), "")],
        [(f"{row.price:.2f}" if session.bills else fmt.NONE, "")],
        [(f"{session.spent:.2f}", "")],
        [(row.provider, "dim")],
        [(fmt.age(session.now - row.created), "dim")],
    ]
    if session.kind != "done":
        return cells
    return [[(text, "dim" if ink != "faint" else ink) for text, ink in cell] for cell in cells]


def _progress(session: SessionView) -> Line:
    run = session.run
    if not run or not run.state.total:
        return []
    share = run.state.done / run.state.total
    ink = "err" if session.kind == "failed" else "warn" if session.stale is not None else "ok"
    return [*bar(share, 6, ink), (f" {share * 100:>3.0f}%", "")]


def passes(session: SessionView, text: str) -> bool:
    """Whether every word of a filter is somewhere in the session's row, and no `!word` is."""
    there = " ".join(part for cell in row_cells(session) for part, _ in cell).lower()
    there += f" {session.row.job} {session.run.state.model if session.run else ''}".lower()
    return all(
        (word[1:] not in there) if word[0] == "!" else (word in there) for word in text.lower().split()
    )


class FleetScreen(CockpitScreen):
    """Rows keep their session: the cursor stays with the session when rows come and go."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("fleet")

    def __init__(self) -> None:
        super().__init__("fleet")
        self._shown: Sequence[SessionView] = ()
        self._filter = ""
        self._wide = [0] * len(COLUMNS)
        self._cells: dict[int, list[Line]] = {}
        """Row → its cells as they were measured for this look; they are drawn as well."""
        self._made: dict[str, tuple[SessionView, list[Line]]] = {}
        """The same by session, with what they were made of."""

    @property
    def table(self) -> RowTable:
        return self.query_one("#sessions", RowTable)

    @property
    def needs_logs(self) -> bool:
        """A large terminal has room for the log of the row under the cursor."""
        return self.size.height >= HIGH

    def compose_body(self) -> ComposeResult:
        yield RowTable(COLUMNS, id="sessions")
        yield StrangerTable()
        yield FilterLine("/", "words of a row, !word for rows without it")
        with Horizontal(id="below"):
            with Vertical(id="of-the-row"):
                yield Preview(id="preview")
                yield LogTail(id="tail")
            with Vertical(id="beside-preview"):
                yield AccuracyChart(id="chart")
                yield SpendChart(id="spend")

    def show(self, scene: Scene) -> None:
        fleet = scene.fleet.sessions
        if not self.has("#sessions", "#below", "#chart"):
            return  # not composed yet (the panes take the app's scene when they are), or not any more
        self._shown = [s for s in fleet if passes(s, self._filter)] if self._filter else fleet
        if self._shown and scene.session and scene.session.row.id not in {s.row.id for s in self._shown}:
            # What keys act on is always a row that can be seen.
            self.cockpit.look_at(self._shown[0].row.id)
            return
        self._show_table(scene)
        self.query_one(StrangerTable).take(scene)
        self.query_one("#below").set_class(not fleet, "-none")
        run = scene.run
        for chart in self.query(AccuracyChart):
            chart.set_class(not run or not run.state.curve, "-none")
        super().show(scene)

    def on_row_table_moved(self, message: RowTable.Moved) -> None:
        self.cockpit.look_at(self._shown[message.row].row.id)

    def on_row_table_opened(self, _: RowTable.Opened) -> None:
        self.action_open_row()

    def on_stranger_table_opened(self, _: StrangerTable.Opened) -> None:
        self.cockpit.action_stranger()

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        self._filter = message.text.strip()
        self.cockpit.tick()

    @property
    def stranger(self) -> Stranger | None:
        """The unknown instance under the cursor, where that table has the focus; else the first."""
        return self.query_one(StrangerTable).chosen

    def text_to_copy(self) -> str:
        """The ssh commands of the marked sessions, else of the one under the cursor."""
        session = self.cockpit.session
        marked = [s for s in self.cockpit.fleet.sessions if s.row.id in self.cockpit.marked]
        chosen = marked or ([session] if session else [])
        return "\n".join(ssh_command(self.cockpit, s) for s in chosen)

    def can(self, action: str) -> bool:
        if action == "open_row":
            return bool(self._shown or self.cockpit.fleet.strangers)
        return bool(self._shown) if action == "mark" else bool(self.cockpit.fleet.sessions)

    def action_open_row(self) -> None:
        if isinstance(self.focused, StrangerTable):
            self.cockpit.action_stranger()
        elif self._shown:
            self.cockpit.action_open("run")

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def action_mark(self) -> None:
        if self._shown:
            self.cockpit.marked ^= {self._shown[self.table.cursor].row.id}
            self.cockpit.tick()

    def go_back(self) -> bool:
        return super().go_back() or self.query_one(FilterLine).clear()

    def _show_table(self, scene: Scene) -> None:
        table, shown = self.table, self._shown
        clears = f"  {hints.key('back')} clears it"
        nothing: list[Line] = [[], [("  No session passes this filter.", "dim"), (clears, "dim")]]
        table.empty = nothing if scene.fleet.sessions else _empty()
        marked = frozenset(i for i, s in enumerate(shown) if s.row.id in self.cockpit.marked)
        table.columns = self._columns(shown)
        measured = self._cells
        table.set_rows(len(shown), lambda i: measured.get(i) or self._row(shown[i]), marked)
        table.entitle(self._title(scene))
        self.set_class(not scene.fleet.sessions, "-empty")
        rows = len(shown) + 2 if shown else 4
        whole = not scene.fleet.sessions or table.has_class("-kept")
        table.styles.height = "1fr" if whole else rows
        if scene.session:
            table.select(
                next((i for i, s in enumerate(shown) if s.row.id == scene.session.row.id), table.cursor)
            )

    def _columns(self, shown: Sequence[SessionView]) -> list[Column]:
        """Columns that grow no wider than what they hold; they never shrink, so that nothing jumps."""
        self._cells = {row: self._measured(session) for row, session in enumerate(shown[:_MEASURED])}
        self._made = {shown[row].row.id: (shown[row], cells) for row, cells in self._cells.items()}
        return [
            replace(c, most=max(c.least, min(c.most, w))) for c, w in zip(COLUMNS, self._wide, strict=True)
        ]

    def _measured(self, session: SessionView) -> list[Line]:
        """The session's row. One that has ended is the same for some looks: its cells are too."""
        seen, cells = self._made.get(session.row.id, (None, []))
        if seen is not session:
            cells = self._row(session)
            for i, cell in enumerate(cells):
                self._wide[i] = max(self._wide[i], width(cell))
        return cells

    def _row(self, session: SessionView) -> list[Line]:
        if session.kind != "starting":
            return row_cells(session)
        known = self.usual(session)
        present = next((p.name for p in phases(session) if p.mark == "present"), "")
        return row_cells(session, f"usual {fmt.clock(known[present].seconds)}" if present in known else "")

    def _title(self, scene: Scene) -> str:
        every, shown = len(scene.fleet.sessions), len(self._shown)
        title = f"Sessions  {every}" if every == shown else f"Sessions  {shown} of {every}"
        return f"{title}   ■ {len(self.cockpit.marked)} marked" if self.cockpit.marked else title
