"""The Compare screen: runs held against the first of them, with the numbers of `gpusess compare`. The results
are read in a thread, and again while a run goes on.
"""

from __future__ import annotations

import time
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from gpusess.analysis.compare import Comparison
from gpusess.errors import GpusessError
from gpusess.sessions.comparing import compare_places
from gpusess.sessions.find_runs import RunPlace
from gpusess.tui import fmt
from gpusess.tui.keys import bindings
from gpusess.tui.panes.compare_series import Compared, chosen
from gpusess.tui.panes.compare_tables import Curves, Differences, Metrics, Paired
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.spans import Line

READ_EVERY = 10.0
"""Seconds after which runs that go on are read again."""


class CompareScreen(CockpitScreen):
    """Marked sessions, else the present one's runs."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("compare")

    def __init__(self) -> None:
        super().__init__("compare")
        self.runs: list[Compared] = []
        self.found: Comparison | None = None
        self.error = ""
        self.reading = 0.0
        """Since when the runs are being read (monotonic); 0: they are not."""
        self.made = 0
        """Grows with each comparison."""
        self._base = 0
        self._of: tuple[str, ...] = ()
        self._done = 0
        self._read_at = 0.0

    def compose_body(self) -> ComposeResult:
        yield Curves(id="curves")
        with Vertical(id="sides"):
            yield Metrics(id="metrics")
            yield Paired(id="paired")
            yield Differences(id="differences")

    def on_mount(self) -> None:
        self.query_one(Curves).focus()

    @property
    def waiting(self) -> Line:
        """What stands where the comparison will."""
        if self.error:
            return [(f"✗ {self.error}", "err")]
        return [(f"reading {len(self.runs)} runs, {fmt.age(time.monotonic() - (self.reading or 0))}", "info")]

    def show(self, scene: Scene) -> None:
        self.runs = chosen(scene.fleet, self.cockpit.marked, scene.session, self._base)
        of = tuple(run.run.row.id for run in self.runs)
        done = sum(run.run.state.done for run in self.runs)
        if of != self._of:
            self._of, self.found, self.error = of, None, ""
            self._read(done)
        elif done != self._done and not self.reading and time.monotonic() - self._read_at > READ_EVERY:
            self._read(done)
        self.query_one("#sides").set_class(len(self.runs) < 2, "-none")
        super().show(scene)

    def can(self, action: str) -> bool:  # noqa: ARG002 (there is one)
        return len(self.runs) > 1

    def action_base(self) -> None:
        """The next run becomes the one that the others are held against."""
        self._base += 1
        self.cockpit.tick()

    def _read(self, done: int) -> None:
        self._done, self._read_at = done, time.monotonic()
        if len(self.runs) < 2:
            return
        self.reading = time.monotonic()
        self._compare(self._of, [RunPlace(run.label, run.run.mirror) for run in self.runs])

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _compare(self, of: tuple[str, ...], places: list[RunPlace]) -> None:
        try:
            found, error = compare_places(places), ""
        except GpusessError as exc:
            found, error = None, exc.message
        self.app.call_from_thread(self._take, of, found, error)

    def _take(self, of: tuple[str, ...], found: Comparison | None, error: str) -> None:
        if of != self._of:
            return  # others are compared by now
        self.reading, self.made = 0.0, self.made + 1
        self.found, self.error = found or self.found, error
        self.cockpit.tick()
