"""The Results screen: every result of a run in a list that a filter narrows, the one under the cursor in
full, and another run beside it. Here is what its keys do; `results_list.py` draws.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import BindingType

from gpusess.analysis.result_filter import FilterError
from gpusess.analysis.result_frame import Frame
from gpusess.errors import GpusessError
from gpusess.sessions.result_export import export
from gpusess.sessions.result_index import ResultIndex
from gpusess.sessions.result_pairing import Pairing
from gpusess.sessions.result_view import ResultView
from gpusess.tui.keys import bindings
from gpusess.tui.screens.choose_run import ChooseRun, OtherRun, other_runs, runs_with_results
from gpusess.tui.screens.results_list import ResultsList
from gpusess.tui.widgets.filter_line import FilterLine
from gpusess.tui.widgets.name_line import NameLine
from gpusess.tui.widgets.row_table import RowTable

_VERDICTS = {"right", "wrong", "no-answer"}
_FLIPS = ("flipped", "lost", "gained")


class ResultsScreen(ResultsList):
    """The words of the filter are what is typed; keys that narrow change them."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("results")

    # --- the filter ---

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        self._filter(message.text)

    def _filter(self, text: str) -> None:
        line = self.query_one(FilterLine)
        self.trouble = ""
        if self.view is None:
            return
        self._follow_cursor()
        try:
            self.view.filter(text.strip())
        except FilterError as exc:
            line.complain(exc.at)
            self.trouble = f"character {exc.at + 1}: {exc}"
            self.cockpit.tick()
            return
        line.complain(None)
        self._pump()
        self.cockpit.tick()

    def _put_filter(self, words: list[str]) -> None:
        self.query_one(FilterLine).put(" ".join(words))

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def action_chip(self, state: str) -> None:
        """Another verdict, and the rest of the filter as it is."""
        if self.view:
            kept = [word for word in _split(self.query_one(FilterLine).value) if word not in _VERDICTS]
            self._put_filter([state, *kept] if state else kept)

    def action_flips(self) -> None:
        view = self.view
        if view is None:
            return
        if view.pairing is None:
            self.action_other()
            return
        words = _split(self.query_one(FilterLine).value)
        at = next((i for i, flip in enumerate(_FLIPS) if flip in words), -1)
        kept = [word for word in words if word not in _FLIPS]
        self._put_filter([_FLIPS[at + 1], *kept] if at + 1 < len(_FLIPS) else kept)

    # --- which run, and another one ---

    def action_run(self) -> None:
        scene = self.cockpit.scene
        if scene is None or scene.session is None:
            return
        runs = runs_with_results(scene.fleet, scene.session)
        if not runs:
            self.cockpit.say("no run at home has results", severity="warning")
            return
        at = next((i for i, run in enumerate(runs) if run.folder == self._folder), 0)
        self.app.push_screen(ChooseRun("Show the results of", runs, at), self._to_show)

    def _to_show(self, run: OtherRun | None) -> None:
        if run:
            self.wanted[run.session] = run.folder
            self.cockpit.look_at(run.session)

    def action_other(self) -> None:
        scene = self.cockpit.scene
        if self.view is None or self._run is None or scene is None:
            return
        if self.view.pairing is not None:
            self._unpair()
            return
        runs = other_runs(scene.fleet, self._run)
        if not runs:
            self.cockpit.say("no other run of this task is at home", severity="warning")
            return
        self.app.push_screen(ChooseRun("Hold another run beside this one", runs), self._chosen)

    def _chosen(self, run: OtherRun | None) -> None:
        if run and self.view and self._run:
            self.pairing_word = f"reading {run.label}…"
            frames = list(self.view.index.frames)
            self._pair(self.view, run, frames, self._run.state.candidates)
            self.cockpit.tick()

    @work(thread=True, exclusive=True, group="pair", exit_on_error=False)
    def _pair(self, view: ResultView, run: OtherRun, frames: list[Frame], candidates: int) -> None:
        other = ResultIndex(run.folder)
        other.read_all()
        pairing = Pairing(run.label, frames, other, candidates)
        self.app.call_from_thread(self._paired, view, pairing)

    def _paired(self, view: ResultView, pairing: Pairing) -> None:
        self.pairing_word = ""
        if view is self.view:
            self._follow_cursor()
            view.pair(pairing)
            self._drawn = None
            self._pump()
            self.cockpit.tick()

    def _unpair(self) -> None:
        if self.view and self.view.pairing:
            self.view.pairing.other.close()
            self.view.pair(None)
            self.query_one("#results-body").remove_class("-paired")
            words = _split(self.query_one(FilterLine).value)
            self._put_filter([word for word in words if word.lstrip("!") not in (*_FLIPS, "same", "alone")])
            self._drawn = None
            self.cockpit.tick()

    # --- keys ---

    def on_row_table_opened(self, _: RowTable.Opened) -> None:
        self.action_open_row()

    def action_open_row(self) -> None:
        """The result in full: beside the list where there is room, else alone."""
        if self.view is None or not self.view.shown:
            return
        if not self.detail.display or not self.detail.region:
            self.zoom(self.detail)
        self.detail.focus()
        self.call_after_refresh(self.cockpit.tick)

    def action_step(self, step: int) -> None:
        """The next result, wherever the focus is."""
        self.table.action_move(step)

    def action_export(self) -> None:
        if self.cockpit.looks_only:
            self.cockpit.say("this cockpit only looks: it writes no files", severity="warning")
            return
        if self.view is None or self._run is None or not self.view.shown:
            self.cockpit.say("there is nothing to write")
            return
        name = re.sub(r"[^\w.-]+", "-", self._run.row.name)
        self.query_one(NameLine).ask(f"{name}-results.jsonl")

    def on_name_line_named(self, message: NameLine.Named) -> None:
        view = self.view
        if view is None or self._folder is None or self.cockpit.looks_only:
            return
        rows = [view.row_at(place) for place in range(view.shown)] if view.text else None
        self._write(self._folder, Path(message.name).expanduser(), rows)

    @work(thread=True, exclusive=True, group="export", exit_on_error=False)
    def _write(self, folder: Path, target: Path, rows: list[int] | None) -> None:
        try:
            count = export(folder, target, rows)
        except GpusessError as exc:
            self.app.call_from_thread(
                self.cockpit.say, exc.hint, title=exc.message, severity="error", timeout=10
            )
        else:
            self.app.call_from_thread(self._written, f"{count:,} results in {target}")

    def _written(self, said: str) -> None:
        self.query_one(NameLine).close()
        self.cockpit.say(said, title="Written", timeout=6)

    def go_back(self) -> bool:
        if super().go_back():
            self.table.focus()
            return True
        if self.focused is not self.table and self.table.display and not self.query_one(FilterLine).has_focus:
            self.table.focus()
            return True
        if self.query_one(FilterLine).clear():
            return True
        if self.view and self.view.pairing:
            self._unpair()
            return True
        return False

    def text_to_copy(self) -> str:
        return self.detail.text if self.view and self.view.shown else ""


def _split(text: str) -> list[str]:
    """The words of a filter as they were typed, quotes and all."""
    return re.findall(r'[^\s"]*"[^"]*"?|\S+', text)
