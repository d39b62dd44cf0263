"""The Run screen: one session's run while it computes, and afterwards."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from gpusess.tui.keys import bindings
from gpusess.tui.panes.accuracy import AccuracyChart
from gpusess.tui.panes.figures import Categories, Checks, Now
from gpusess.tui.panes.header import RunHeader
from gpusess.tui.panes.instance import Instance
from gpusess.tui.panes.log_tail import LogTail
from gpusess.tui.screens.base import CockpitScreen


class RunScreen(CockpitScreen):
    """At 80×24 only the chart and the numbers have room; `z` and `tab` bring every pane."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("run")
    NEEDS_LOGS: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("run")

    def compose_body(self) -> ComposeResult:
        yield RunHeader(id="header")
        yield Checks(id="checks")
        with Horizontal(id="upper"):
            yield AccuracyChart(id="chart")
            yield Now(id="now")
        with Horizontal(id="lower"):
            yield Categories(id="categories")
            yield Instance(id="instance")
        yield LogTail(id="tail")

    def on_mount(self) -> None:
        self.query_one(AccuracyChart).focus()

    def can(self, action: str) -> bool:  # noqa: ARG002 (there is one)
        run = self.cockpit.session.run if self.cockpit.session else None
        return bool(run and run.state.curve)

    def action_band(self) -> None:
        self.query_one(AccuracyChart).toggle_band()
