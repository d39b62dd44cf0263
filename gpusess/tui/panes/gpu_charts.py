"""Charts of a GPU's figures over the last minutes: one device with all of its figures, or all devices next to
each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gpusess.analysis.run_state import Sample
from gpusess.tui import fmt
from gpusess.tui.panes.gpu import GpuPane, Reading, held_down, memory, number, of, readings, temperature
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, crop, fit, spread
from gpusess.tui.widgets.line_chart import Axes, Look, Point, Scale, nice_step, plot
from gpusess.tui.widgets.pane import Pane

GAP = 15.0
"""Seconds between two heartbeats from which on the curve has a gap."""


class Figure(NamedTuple):
    """One curve of a device: its title with the newest value, its values, and the scale's ends."""

    name: str
    text: Line
    value: Callable[[dict[str, Any]], float | None]
    top: float
    label: Callable[[float], str]


def figures(reading: Reading) -> list[Figure]:
    """What there is to draw, the most telling first; what the driver does not say is left out."""
    now = reading.newest
    total = now.get("mem_total") or 0
    found = [Figure("utilisation", [(number(now.get("util"), "%"), "bold")], _value("util"), 100, _percent)]
    if total:
        used = Figure("memory", memory(now), lambda d: _gib(d.get("mem_used")), _gib(total) or 1, _plain)
        found.append(used)
    if now.get("power") is not None:
        top = now.get("power_limit") or max(100.0, math.ceil(now["power"] / 100 + 1) * 100)
        text = of(now["power"], now.get("power_limit"), "W")
        found.append(Figure("power", [(text, "bold")], _value("power"), top, _plain))
    if now.get("temp") is not None:
        text, ink = temperature(now, " °C")
        found.append(Figure("temperature", [(text, f"{ink} bold".strip())], _value("temp"), 100, _plain))
    if now.get("clock") is not None:
        top = now.get("clock_max") or now["clock"] * 1.2
        text_of: Line = [(f"{now['clock']:,} MHz", "bold"), *_held(now)]
        found.append(Figure("clock", text_of, _value("clock"), top, _plain))
    if now.get("clock_mem") is not None:
        top = now["clock_mem"] * 1.2
        text_of = [(f"{now['clock_mem']:,} MHz", "bold")]
        found.append(Figure("memory clock", text_of, _value("clock_mem"), top, _plain))
    return found


def _held(now: dict[str, Any]) -> Line:
    return [("  held by ", "dim"), *held_down(now)] if now.get("throttle") else []


def _value(name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda device: device.get(name)


def _gib(number: float | None) -> float | None:
    return None if number is None else number / 2**30


def _percent(value: float) -> str:
    return f"{value:.0f}%"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value < 10_000 else f"{value / 1000:.0f}k"


def curve(figure: Figure, reading: Reading, samples: Sequence[Sample]) -> list[Point]:
    """(seconds since the first sample, value); NaN where heartbeats are missing or the value is not known."""
    points: list[Point] = []
    start = samples[0].ts
    for before, sample in zip([None, *samples], samples, strict=False):
        if before is not None and sample.ts - before.ts > GAP:
            points.append((sample.ts - start, math.nan, 0.0, 0.0))
        device = reading.of(sample)
        value = figure.value(device) if device else None
        points.append((sample.ts - start, math.nan if value is None else value, 0.0, 0.0))
    return points


def chart(
    figure: Figure, reading: Reading, samples: Sequence[Sample], width: int, height: int, look: Look
) -> list[Line]:
    """A title line and the chart below it; with the time's axis where there is room for it."""
    head: Line = [(f"{figure.name}  ", "dim"), *figure.text]
    long = max(60.0, samples[-1].ts - samples[0].ts)
    axes = Axes(figure.label, lambda at: _ago(long - at), nice_step)
    scale = Scale(long, 0.0, float(figure.top))
    axis = height >= 8
    drawn = plot(curve(figure, reading, samples), scale, width, height - 1 + (0 if axis else 2), look, axes)
    return [crop(head, width), *(drawn if axis else drawn[:-2])]


def _ago(seconds: float) -> str:
    return "now" if seconds < 1 else f"-{fmt.clock(seconds)}"


def beside(blocks: Sequence[list[Line]], width: int, gap: int = 2) -> list[Line]:
    """Blocks of lines next to each other, each in the same share of the width."""
    cells = (width - gap * (len(blocks) - 1)) // len(blocks)
    rows = max((len(block) for block in blocks), default=0)
    lines: list[Line] = []
    for y in range(rows):
        line: Line = []
        for block in blocks:
            line += [(" " * gap, "")] if line else []
            line += fit(block[y] if y < len(block) else [], cells)
        lines.append(line)
    return lines


def grid(
    draw: Sequence[Callable[[int, int], list[Line]]], columns: int, width: int, height: int
) -> list[Line]:
    """Blocks in rows of `columns`, each in the same share of the room; each is drawn for its own size."""
    rows = -(-len(draw) // columns)
    cells, tall = (width - 2 * (columns - 1)) // columns, (height - (rows - 1)) // rows
    lines: list[Line] = []
    for first in range(0, len(draw), columns):
        blocks = [one(cells, tall) for one in draw[first : first + columns]]
        blocks += [[]] * (columns - len(blocks))
        lines += ([[]] if lines else []) + (beside(blocks, width) + [[]] * tall)[:tall]
    return lines


def _look(pane: Pane) -> Look:
    return Look("off", braille=not pane.cockpit.inks.ascii)


class GpuCharts(GpuPane):
    """The chosen device: as many of its figures as there is room for."""

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        samples = self.samples(scene)
        found = readings(samples)
        if not found:
            self.entitle("Charts")
            return self.nothing(scene)
        reading = found[min(self._chosen, len(found) - 1)]
        span = fmt.clock(samples[-1].ts - samples[0].ts)
        self.entitle(f"{'' if reading.is_host else 'GPU '}{reading.name}   the last {span}")
        every = figures(reading)
        columns = 3 if width >= 150 else 2 if width >= 70 else 1
        fitting = max(1, (height + 1) // 6) * columns
        look = _look(self)
        return grid([_drawer(f, reading, samples, look) for f in every[:fitting]], columns, width, height)


def _drawer(
    figure: Figure, reading: Reading, samples: Sequence[Sample], look: Look
) -> Callable[[int, int], list[Line]]:
    return lambda width, height: chart(figure, reading, samples, width, height, look)


class GpuGrid(GpuPane):
    """All GPUs next to each other, where there are several and the terminal is large."""

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        samples = self.samples(scene)
        found = readings(samples)
        if not found:
            return self.nothing(scene)
        self.entitle(f"{len(found)} GPUs   the last {fmt.clock(samples[-1].ts - samples[0].ts)}")
        columns = next(c for c in (4, 3, 2, 1) if width // c >= 44 or c == 1)
        columns = min(columns, len(found))
        look = _look(self)
        return grid([self._tile(r, samples, look) for r in found], columns, width, height)

    @staticmethod
    def _tile(reading: Reading, samples: Sequence[Sample], look: Look) -> Callable[[int, int], list[Line]]:
        def tile(width: int, height: int) -> list[Line]:
            every = figures(reading)[: max(1, (height - 1) // 5)]
            rows = (height - 1) // len(every)
            lines = [spread([(f"GPU {reading.name}", "bold data")], held_down(reading.newest), width)]
            for figure in every:
                lines += chart(figure, reading, samples, width, rows, look)
            return lines

        return tile
