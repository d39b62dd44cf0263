"""The accuracy over the results, with its 95% Wilson band."""

from __future__ import annotations

from collections.abc import Hashable

from gpusess.tui import fmt
from gpusess.tui.panes.nothing import no_results
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line
from gpusess.tui.widgets.line_chart import Look, Scale, plot, scale_for
from gpusess.tui.widgets.pane import Pane


class AccuracyChart(Pane):
    """Redrawn only when there are new results, and then only in the rows that look different."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.band = True
        self._scale: Scale | None = None
        self._run = ""

    def key(self, scene: Scene) -> Hashable:
        run = scene.run
        if not run or not run.state.curve:
            return super().key(scene)  # what is waited for has a clock
        return (run.row.id, run.state.done, run.state.total)

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        run = scene.run
        self.entitle("Accuracy")
        if not run or not run.state.curve:
            return no_results(scene.session, width)[:height]
        if run.row.id != self._run:
            self._run, self._scale = run.row.id, None
        state = run.state
        band = ", 95% band" if self.band else ""
        forced = " (forced)" if state.forced else ""
        self.entitle(f"Accuracy{forced}  {fmt.percent(state.accuracy)}% {fmt.plus_minus(state.band)}{band}")
        self._scale = scale_for(state.curve, state.curve_end, self._scale)
        expected = state.expected
        level = (expected.low + expected.high) / 2 if expected else None
        return plot(state.curve, self._scale, width, height, self._look(), level=level)

    def toggle_band(self) -> None:
        self.band = not self.band
        self.redraw()

    def _look(self) -> Look:
        inks = self.cockpit.inks
        style = "edges" if inks.ansi else "cells" if inks.ascii else "smooth"
        return Look(style if self.band else "off", braille=not inks.ascii)
