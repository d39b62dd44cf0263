"""The charts of the Train screen: one tile a figure, raw dim and smoothed bright, with the guard's verdict in
its rule and title; and for a small terminal a row each.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import isnan
from typing import TYPE_CHECKING, cast

from gpusess.tui import hints
from gpusess.tui.panes.train_curves import (
    ACCURACY,
    Curve,
    axes_of,
    curve_of,
    names_of,
    now_text,
    scale_of,
    verdict,
)
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit
from gpusess.tui.widgets.line_chart import Look, Scale, plot
from gpusess.tui.widgets.meter import spark
from gpusess.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from gpusess.tui.screens.train import TrainScreen

_LABEL, _NOW, _VERDICT = 16, 10, 25


class _OfTraining(Pane):
    @property
    def train_screen(self) -> TrainScreen:
        return cast("TrainScreen", self.screen)

    def key(self, scene: Scene) -> Hashable:
        screen = self.train_screen
        return (scene.run.row.id, screen.course, screen.first, screen.smooth) if scene.run else None


class Tile(_OfTraining):
    """The curve at one place of the present page."""

    def __init__(self, place: int) -> None:
        super().__init__(id=f"tile{place}", classes="tile")
        self._place = place
        self._scale: Scale | None = None
        self._of: tuple[str, str] = ("", "")

    def show(self, scene: Scene) -> None:
        names = names_of(scene.run.state) if scene.run else []
        self.set_class(not (self.train_screen.first + self._place < len(names) or self._place == 0), "-none")
        super().show(scene)

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        names = names_of(scene.run.state) if scene.run else []
        at = self.train_screen.first + self._place
        if not scene.run or at >= len(names):
            self.entitle("Figures")
            self.set_class(False, "-alarm")
            return [[("no step has been logged yet", "dim")]] if self._place == 0 else []
        state = scene.run.state
        if self._of != (scene.run.row.id, names[at]):
            self._of, self._scale = (scene.run.row.id, names[at]), None
        curve = curve_of(state, names[at], self.train_screen.standings)
        self._scale = scale_of(curve, state.total, self._scale)
        said, _ = verdict(curve)
        self.entitle(f"{curve.title} {now_text(curve)}  {said}".rstrip())
        self.set_class(curve.alarmed, "-alarm")
        return self._chart(curve, self._scale, width, height)

    def _chart(self, curve: Curve, scale: Scale, width: int, height: int) -> list[Line]:
        inks = self.cockpit.inks
        style = (
            "off" if curve.name != ACCURACY else "edges" if inks.ansi else "cells" if inks.ascii else "smooth"
        )
        look = Look(style, braille=not inks.ascii)
        smooth = self.train_screen.smooth
        limit = next((v for v in curve.limits if scale.low <= v <= scale.high), None)
        return plot(
            curve.smooth if smooth else curve.points,
            scale,
            width,
            height,
            look,
            axes_of(curve),
            ink="err" if curve.alarmed else "data",
            under=curve.points if smooth and curve.smooth != curve.points else (),
            level=limit,
        )


class Rows(_OfTraining):
    """All figures, a row each: the name, the value now, the curve, and what the guard says of it."""

    def on_mount(self) -> None:
        self.entitle("Figures")

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        names = names_of(scene.run.state) if scene.run else []
        if not scene.run or not names:
            return [[("no step has been logged yet", "dim")]]
        curves = [curve_of(scene.run.state, name, self.train_screen.standings) for name in names]
        shown = sorted(curves, key=lambda curve: not curve.alarmed)[self.train_screen.first :]
        more = len(curves) - len(shown)
        above = f"  {more} above ({hints.key('train.more')})" if more else ""
        self.entitle(f"Figures{above}")
        return [self._row(curve, width) for curve in shown[:height]]

    def _row(self, curve: Curve, width: int) -> Line:
        said, ink = verdict(curve)
        cells = width - _LABEL - _NOW - _VERDICT - 2
        values = [
            y for _, y, _, _ in (curve.smooth if self.train_screen.smooth else curve.points) if not isnan(y)
        ]
        name = f"▲ {curve.title}" if curve.alarmed else f"  {curve.title}"
        return [
            *fit([(name, "err bold" if curve.alarmed else "")], _LABEL),
            *fit([(now_text(curve), "err bold" if curve.alarmed else "bold")], _NOW, "right"),
            (" ", ""),
            *fit([(spark(values, cells), "err" if curve.alarmed else "spark")], cells),
            (" ", ""),
            *fit([(said, ink)], _VERDICT),
        ]
