"""The Results screen without what its keys do: it opens the session's run, and draws the rows and the result
under the cursor. Files are read in threads or in steps of some milliseconds.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.worker import Worker, WorkerState, get_current_worker

from gpusess.analysis.text import clean
from gpusess.sessions.board import RunView
from gpusess.sessions.result_index import ResultIndex
from gpusess.sessions.result_view import ResultView
from gpusess.sessions.siblings import Siblings
from gpusess.tui.panes.result_detail import Elsewhere, detail_lines
from gpusess.tui.panes.result_list import ResultHead, Widths, other_cell, row_cells
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.screens.choose_run import OtherRun, other_runs
from gpusess.tui.spans import Line
from gpusess.tui.widgets.filter_line import FilterLine
from gpusess.tui.widgets.name_line import NameLine
from gpusess.tui.widgets.row_table import RowTable
from gpusess.tui.widgets.text_view import TextView
from remote_agent.files import JOURNAL
from remote_agent.journal import BadLine, Record

STEP, PAUSE = 0.008, 0.012
"""Seconds that one step of reading or searching takes of the drawing, and between two steps."""
PAINT = 0.2
"""Seconds between two pictures of a search that goes on."""
SETTLE = 0.12
"""Seconds that the cursor must rest before other runs are asked for the sample."""
_TEXTS_KEPT = 1000
_NOT_HOME = "nothing of this run has come home yet"
_HINT = 'wrong  no-answer  disagree  cat:rates  tok>400  got=18  "some words"  !without'


class ResultsList(CockpitScreen):
    """`view` is None until the run's results are open; `opening` says why."""

    def __init__(self) -> None:
        super().__init__("results")
        self.view: ResultView | None = None
        self.opening = "no run yet"
        self.trouble = ""
        """What is wrong with the filter or with the mirror."""
        self.pairing_word = ""
        """What is being done for the other run."""
        self.wanted: dict[str, Path] = {}
        """Session's id → the folder of the run that was chosen of it; else it is the session's own."""
        self._broken = ""
        """Why the results could not be opened."""
        self._folder: Path | None = None
        self._run: RunView | None = None
        self._anchor = 0
        """The row that the cursor was put on; a filter that takes it out and is cleared gives it back."""
        self._row = -1
        """The row under the cursor."""
        self._place = 0
        """Where in the table the cursor was when that was known last."""
        self._others: tuple[int, list[Elsewhere]] | None = None
        self._siblings = Siblings()
        self._pumping = False
        self._painted = 0.0
        self._drawn: object = None
        self._widths = Widths()
        self._texts: dict[int, str] = {}

    @property
    def table(self) -> RowTable:
        return self.query_one("#rows", RowTable)

    @property
    def detail(self) -> TextView:
        return self.query_one("#result", TextView)

    def compose_body(self) -> ComposeResult:
        yield ResultHead(id="resulthead")
        yield FilterLine("/", _HINT)
        yield NameLine("write to", "a new file; esc takes it back", id="saveas")
        with Horizontal(id="results-body"):
            yield RowTable(self._widths.columns(False), id="rows")
            yield TextView(id="result")
            yield TextView(id="otherresult")

    def on_mount(self) -> None:
        self.table.focus()

    # --- the run ---

    def show(self, scene: Scene) -> None:
        if not self.has("#otherresult"):
            return  # not composed yet
        scene = self._as_wanted(scene)
        run = scene.run
        if run is None or run.mirror != self._folder:
            self._look_at(run)
        self._run = run
        if self.view is None and run is not None:
            self._say_why(run)
        if self.view and not self._pumping and not scene.frozen:
            self._pump()
        self._show_rows()
        super().show(scene)

    def _as_wanted(self, scene: Scene) -> Scene:
        session = scene.session
        folder = self.wanted.get(session.row.id) if session else None
        runs = [run for run in session.runs if run.mirror == folder] if session else []
        return replace(scene, chosen=runs[0]) if runs else scene

    def _look_at(self, run: RunView | None) -> None:
        """Another run: begin anew."""
        self._forget_run()
        self._folder = run.mirror if run else None
        if run is not None and not run.state.train:
            self._open(run.mirror)

    def _forget_run(self) -> None:
        if self.view:
            self.view.index.close()
            if self.view.pairing:
                self.view.pairing.other.close()
        self.view, self.opening, self._broken = None, "no run yet", ""
        self.trouble = self.pairing_word = ""
        self._anchor, self._row, self._place, self._others, self._drawn = 0, -1, 0, None, None
        self._texts.clear()
        self.query_one(FilterLine).clear()
        for text in self.query(TextView):
            text.put(None, lambda _: [])
            text.entitle("")

    def _say_why(self, run: RunView) -> None:
        if self._broken:
            self.opening = self._broken
        elif run.state.train:
            self.opening = "a training has no results: its evaluations are on its own screen"
        elif not (run.mirror / JOURNAL).exists():
            self.opening = _NOT_HOME
        else:
            self.opening = "opening…"

    @work(thread=True, exclusive=True, group="open", exit_on_error=False)
    def _open(self, folder: Path) -> None:
        index = ResultIndex(folder)
        worker = get_current_worker()
        self.app.call_from_thread(lambda: None if worker.is_cancelled else self._opened(folder, index))

    def _opened(self, folder: Path, index: ResultIndex) -> None:
        if folder != self._folder:
            index.close()
            return
        self.view = ResultView(index)
        self._pump()

    def _pump(self) -> None:
        """Read and search on for a moment; soon again where there is more to do."""
        view = self.view
        self._pumping = False
        if view is None or not self.is_mounted:
            return
        if view.work(STEP):
            self._pumping = True
            self.set_timer(PAUSE, self._pump)
            if view.shown and time.monotonic() - self._painted < PAINT:
                return  # what is found is shown now and then, and the first of it at once
        self._painted = time.monotonic()
        if view.index.damage and not self.trouble:
            self.trouble = f"{view.index.damage}. `gpusess pull` brings a whole copy while the instance lives"
        self._show_rows()
        if self.cockpit.scene:
            self.query_one(ResultHead).show(self.cockpit.scene)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Nothing that fails in a thread is passed over."""
        if event.state is WorkerState.ERROR:
            self.pairing_word = ""
            if self.view is None:
                self._broken = f"the results cannot be opened: {event.worker.error}"
            else:
                self.cockpit.say(
                    str(event.worker.error), title="This went wrong", severity="error", timeout=10
                )
            self.cockpit.tick()

    # --- rows ---

    def _show_rows(self) -> None:
        view, table = self.view, self.table
        if view is None:
            table.empty = [[], [(f"  {self.opening}", "dim")]]
            table.set_rows(0, lambda _: [])
            table.entitle("Results")
            return
        self._follow_cursor()
        table.columns = self._widths.columns(view.pairing is not None)
        table.empty = self._nothing(view)
        table.set_rows(view.shown, self._cells, state=(view, view.version))
        if view.shown:
            # The cursor stays on its row; where a filter has taken that out, on the next one.
            table.select(min(view.place_of(self._anchor), view.shown - 1))
            self._row, self._place = view.row_at(table.cursor), table.cursor
        table.entitle(self._title(view))
        self._show_detail()

    def _nothing(self, view: ResultView) -> list[Line]:
        if view.text:
            said = "searching…" if view.searching else "No result passes this filter."
            return [[], [(f"  {said}", "dim")], [("  esc clears it", "dim")]]
        if not view.index.begun:
            return [[], [(f"  {_NOT_HOME}", "dim")]]
        waiting = view.index.waiting > 0 and not view.index.damage
        return [[], [("  reading…" if waiting else "  No results yet: they come one by one.", "dim")]]

    def _title(self, view: ResultView) -> str:
        name = self._run.row.name if self._run else ""
        every = f"{view.index.rows:,}"
        count = every if not view.text else f"{view.shown:,} of {every}"
        return f"{name}  {count}"

    def _cells(self, place: int) -> list[Line]:
        view = self.view
        if view is None or place >= view.shown:
            return [[] for _ in self.table.columns]
        row = view.row(view.row_at(place))
        cells = row_cells(row, self._text_of(row.number))
        self._widths.saw(cells)
        if view.pairing is None:
            return cells
        return [*cells[:2], other_cell(view.pairing.verdict_of(row.sample, row.candidate)), *cells[2:]]

    def _text_of(self, number: int) -> str:
        """The beginning of a result's completion, as one harmless line."""
        found = self._texts.get(number)
        if found is None:
            record = self._record(number) or {}
            text = str(record.get("completion", record.get("error", "")))
            found = clean(" ".join(text[:600].split()), 200)
            if len(self._texts) > _TEXTS_KEPT:
                self._texts.clear()
            self._texts[number] = found
        return found

    def _record(self, number: int) -> Record | None:
        try:
            return self.view.index.record(number) if self.view else None
        except (BadLine, IndexError):
            return None

    def on_row_table_moved(self, _: RowTable.Moved) -> None:
        self._follow_cursor()
        self._show_detail()

    def _follow_cursor(self) -> None:
        """A key may have moved it since: that must hold, whatever comes in between."""
        at = self.table.cursor
        if self.view and at != self._place and at < self.view.shown:
            self._anchor = self._row = self.view.row_at(at)
            self._place = at

    def _show_detail(self) -> None:
        view = self.view
        if view is None or not 0 <= self._row < view.index.rows or not view.shown:
            if view is None or not view.searching:
                self._drawn = None
                for text in self.query(TextView):
                    text.put(None, lambda _: [])
                    text.entitle("")
            return
        others = self._others[1] if self._others and self._others[0] == self._row else None
        key = (self._folder, self._row, others, view.index.epoch)
        if key == self._drawn:
            return
        again = isinstance(self._drawn, tuple) and self._drawn[:2] == key[:2]
        self._drawn = key
        row, record = self._row, self._record(self._row)
        headline = self._run.state.headline if self._run else ""
        if record is None:
            self.detail.put(key, lambda _: [[("the journal was changed since it was read", "err")]])
            return
        self.detail.entitle(f"{record['sample']}  #{row + 1:,}")
        self.detail.put(key, lambda cells: detail_lines(record, headline, others, cells), top=not again)
        self._show_other(record)
        if others is None:
            self.set_timer(SETTLE, lambda: self._ask_others(row, record))

    def _show_other(self, record: Record) -> None:
        """At 200x60: the same sample in the run beside this one, in full."""
        pairing = self.view.pairing if self.view else None
        self.query_one("#results-body").set_class(pairing is not None, "-paired")
        if pairing is None:
            return
        pane = self.query_one("#otherresult", TextView)
        pane.entitle(f"{pairing.label}")
        there = pairing.row_of(record["sample"], record["candidate"])
        try:
            other = pairing.other.record(there) if there is not None else None
        except BadLine:
            other = None
        if other is None:
            pane.put((pairing, record["sample"]), lambda _: [[("not in that run", "dim")]])
        else:
            key = (pairing, there)
            pane.put(key, lambda cells: detail_lines(other, "", (), cells))

    def _ask_others(self, row: int, record: Record) -> None:
        scene = self.cockpit.scene
        if row != self._row or self._run is None or scene is None:
            return
        runs = [r for r in other_runs(scene.fleet, self._run) if r.same_data]
        if runs:
            self._read_others(row, record["sample"], record["candidate"], runs)
        else:
            self._heard(row, [])

    @work(thread=True, exclusive=True, group="others", exit_on_error=False)
    def _read_others(self, row: int, sample: str, candidate: int, runs: list[OtherRun]) -> None:
        found = []
        for run in runs:
            if get_current_worker().is_cancelled:
                return
            there = self._siblings.look(run.folder, sample, candidate)
            found.append(Elsewhere(run.label, there.verdict, there.extracted, there.note))
        self.app.call_from_thread(self._heard, row, found)

    def _heard(self, row: int, found: list[Elsewhere]) -> None:
        if row == self._row:
            self._others = (row, found)
            self._show_detail()
