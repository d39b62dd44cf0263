"""A chart of a curve, with its interval as a band where it has one. `plot` is a pure function from points to
lines; the panes only remember the scale, so that it does not jump with every point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isnan, log10, nan
from types import MappingProxyType
from typing import TypeVar

from gpusess.tui.spans import Line

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_EIGHTHS = "▁▂▃▄▅▆▇"
_LABEL = 5

Point = tuple[float, float, float, float]
"""x, y, the band's low and high. NaN in y: a gap."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What part of the plane is drawn."""

    x_max: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Look:
    """`band`: smooth (block elements on a background), cells (background only), edges (dots), off."""

    band: str = "smooth"
    braille: bool = True


def nice_step(span: float, parts: int) -> float:
    """1, 2 or 5 times a power of ten: the least that cuts `span` into no more than `parts`."""
    if span <= 0:
        return 1.0
    power = 10.0 ** floor(log10(span / parts))
    return next((m * power for m in (1, 2, 5) if span / (m * power) <= parts + 1e-9), 10 * power)


def share_step(span: float, parts: int) -> float:
    """The same for proportions, in whole percents."""
    return next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if span / s <= parts), 0.5)


@dataclass(frozen=True, slots=True)
class Axes:
    """How the axes are labelled. `y` has 5 cells; the ticks of y stand at multiples of its step."""

    y: Callable[[float], str] = lambda value: f"{value * 100:.0f}%"
    x: Callable[[float], str] = lambda value: f"{round(value):,}"
    step: Callable[[float, int], float] = share_step


SHARES = Axes()
"""A proportion over a count."""

P = TypeVar("P", bound=Point)


def settled(points: Sequence[P]) -> Sequence[P]:
    """The points without the first few, whose jumps say nothing yet."""
    first = max(12.0, points[-1][0] * 0.06) if points else 0.0
    return [p for p in points if p[0] >= first and not isnan(p[1])] or points[-1:]


def scale_for(points: Sequence[Point], total: float, before: Scale | None) -> Scale:
    """A scale that shows all but the first, widest part of the band, and changes rarely.

    The x axis ends at an eighth, a quarter, a half or the whole of `total`. The y axis grows at once and
    shrinks only when a third of it would do.
    """
    last = points[-1][0] if points else 0.0
    x_max = next((total / part for part in (8, 4, 2) if last <= total / part), max(total, last, 1.0))
    shown = settled(points)
    low = min((p[2] for p in shown), default=0.0)
    high = max((p[3] for p in shown), default=1.0)
    step = share_step(high - low, 4)
    low, high = max(0.0, floor(low / step) * step), min(1.0, ceil(high / step) * step)
    if (
        before
        and before.low <= low
        and high <= before.high
        and high - low > (before.high - before.low) * 0.66
    ):
        low, high = before.low, before.high
    return Scale(x_max, low, max(high, low + 0.01))


def plot(
    points: Sequence[Point],
    scale: Scale,
    width: int,
    height: int,
    look: Look,
    axes: Axes = SHARES,
    *,
    ink: str = "data",
    under: Sequence[Point] = (),
    level: float | None = None,
) -> list[Line]:
    """The chart with its axes in `width` × `height` cells; nothing where there is no room for one.

    under: a second curve, dim, where the first one leaves room; level: a limit, as a dashed line.
    """
    columns, rows = width - _LABEL - 1, height - 2
    if columns < 8 or rows < 2:
        return []
    per_cell = (2, 4) if look.braille else (1, 1)
    drawn = {at: (dots, "dim") for at, dots in _curve(under, scale, columns, rows, per_cell).items()}
    drawn |= {at: (dots, ink) for at, dots in _curve(points, scale, columns, rows, per_cell).items()}
    band = _band(points, scale, columns, rows) if look.band != "off" else {}
    limit = _row_of(level, scale, rows)
    ticks = _ticks(scale, rows, axes)
    lines: list[Line] = []
    for row in range(rows):
        label = ticks.get(row, "")
        axis = (f"{label:>{_LABEL}}", "dim"), ("┤" if label else "│", "faint")
        lines.append([*axis, *_row(row, columns, drawn, band, look, row == limit)])
    return lines + _x_axis(scale, columns, axes)


@dataclass(frozen=True, slots=True)
class Series:
    """One of several curves: its ink, and the character at its end that tells it apart without colour."""

    points: Sequence[Point]
    ink: str
    marker: str


def plot_series(
    series: Sequence[Series], scale: Scale, width: int, height: int, look: Look, axes: Axes = SHARES
) -> list[Line]:
    """Several curves over each other, without bands; a cell that two go through is the first one's."""
    columns, rows = width - _LABEL - 1, height - 2
    if columns < 8 or rows < 2:
        return []
    per_cell = (2, 4) if look.braille else (1, 1)
    drawn: dict[tuple[int, int], tuple[int, str]] = {}
    ends: dict[tuple[int, int], tuple[str, str]] = {}
    for one in series:
        for at, dots in _curve(one.points, scale, columns, rows, per_cell).items():
            drawn.setdefault(at, (dots, one.ink))
        if one.points:
            column = min(columns - 1, int(one.points[-1][0] / scale.x_max * columns))
            row = min(rows - 1, max(0, _level(one.points[-1][1], scale, rows)))
            while (column, row) in ends and column > 0:
                column -= 1
            ends[column, row] = (one.marker, f"{one.ink} bold")
    ticks = _ticks(scale, rows, axes)
    lines: list[Line] = []
    for row in range(rows):
        label = ticks.get(row, "")
        axis = (f"{label:>{_LABEL}}", "dim"), ("┤" if label else "│", "faint")
        cells = _row(row, columns, drawn, {}, look, on_limit=False, marks=ends)
        lines.append([*axis, *cells])
    return lines + _x_axis(scale, columns, axes)


def _curve(
    points: Sequence[Point], scale: Scale, columns: int, rows: int, per_cell: tuple[int, int]
) -> dict[tuple[int, int], int]:
    """(column, row) → braille dots (or 1) of the cells that the line goes through."""
    wide, tall = per_cell
    buckets = _buckets(points, scale, columns * wide)
    cells: dict[tuple[int, int], int] = {}
    levels = rows * tall
    previous: int | None = None
    for x in range(columns * wide):
        found = buckets.get(x)
        if found is None:
            previous = None
            continue
        top, bottom = _level(found[1], scale, levels), _level(found[0], scale, levels)
        # Joined with the bucket before it, so that a jump is a line and not two points.
        reach = (top, bottom) if previous is None else (min(top, previous), max(bottom, previous))
        if found[0] != found[1] or reach != (previous, previous):
            top, bottom = reach
        for y in range(max(0, top), min(levels - 1, bottom) + 1):
            key = (x // wide, y // tall)
            cells[key] = cells.get(key, 0) | (_DOTS[x % wide][y % tall] if tall == 4 else 1)
        previous = _level(found[2], scale, levels)
    return cells


def _buckets(points: Sequence[Point], scale: Scale, count: int) -> dict[int, tuple[float, float, float]]:
    """x bucket → (least, greatest, last) y; buckets between two neighbouring points are interpolated."""
    buckets: dict[int, tuple[float, float, float]] = {}
    x_max, last = scale.x_max, count - 1
    at, value, low, high = -1, nan, nan, nan
    for x, y, _, _ in points:  # thousands of points, several times a second
        if y != y:
            at = -1
            continue
        here = int(x / x_max * count)
        if here > last:
            here = last
        if here != at:
            if 0 <= at < here - 1:
                _interpolate(buckets, at, value, here, y)
            low, high, _ = buckets.get(here, (y, y, y))
            at = here
        if y < low:
            low = y
        if y > high:
            high = y
        value = y
        buckets[here] = (low, high, y)
    return buckets


def _interpolate(
    buckets: dict[int, tuple[float, float, float]], at: int, value: float, here: int, y: float
) -> None:
    for between in range(at + 1, here):
        there = value + (y - value) * (between - at) / (here - at)
        buckets[between] = (there, there, there)


def _band(points: Sequence[Point], scale: Scale, columns: int, rows: int) -> dict[int, tuple[float, float]]:
    """Column → (top, bottom) of the band in rows from the top, fractions of a cell included."""
    shown = _ends(points, scale, columns)
    lows = _buckets([(p[0], p[2], nan, nan) for p in shown], scale, columns)
    highs = _buckets([(p[0], p[3], nan, nan) for p in shown], scale, columns)
    span = scale.high - scale.low

    def place(value: float) -> float:
        return min(rows, max(0.0, (scale.high - value) / span * rows))

    return {x: (place(highs[x][2]), place(lows[x][2])) for x in lows}


def _ends(points: Sequence[Point], scale: Scale, columns: int) -> list[Point]:
    """The first and the last point of each column, and the gaps: all that a band is drawn from."""
    found: list[Point] = []
    x_max, at = scale.x_max, -1
    before: Point | None = None
    for point in points:
        here = int(point[0] / x_max * columns)
        if here != at or point[2] != point[2]:
            if before is not None:
                found.append(before)
            found.append(point)
            at, before = here, None
        else:
            before = point
    return [*found, before] if before is not None else found


def _row(
    row: int,
    columns: int,
    drawn: dict[tuple[int, int], tuple[int, str]],
    band: dict[int, tuple[float, float]],
    look: Look,
    on_limit: bool,
    marks: Mapping[tuple[int, int], tuple[str, str]] = MappingProxyType({}),
) -> Line:
    """One row of cells, neighbours with the same ink in one span; a cell belongs to the first curve in it."""
    line: Line = []
    for column in range(columns):
        char, ink = _band_cell(row, band.get(column), look)
        if on_limit and char == " " and not ink:
            char, ink = "╌", "warn"
        found = drawn.get((column, row))
        if found:
            dots, curve_ink = found
            char = chr(0x2800 + dots) if look.braille else "*"
            edges = band.get(column)
            inside = edges and ink and look.band != "edges" and _covers_middle(row, edges)
            ink = f"{curve_ink} on-band" if inside else curve_ink
        if (column, row) in marks:
            char, ink = marks[column, row]
        if line and line[-1][1] == ink:
            line[-1] = (line[-1][0] + char, ink)
        else:
            line.append((char, ink))
    return line


def _row_of(level: float | None, scale: Scale, rows: int) -> int | None:
    if level is None or not scale.low <= level <= scale.high:
        return None
    return min(rows - 1, int((scale.high - level) / (scale.high - scale.low) * rows))


def _covers_middle(row: int, edges: tuple[float, float]) -> bool:
    return edges[0] <= row + 0.5 <= edges[1]


def _band_cell(row: int, edges: tuple[float, float] | None, look: Look) -> tuple[str, str]:
    if edges is None:
        return " ", ""
    top, bottom = edges
    if look.band == "edges":
        on_edge = int(top) == row or ceil(bottom) - 1 == row
        return ("·", "band") if on_edge else (" ", "")
    if row + 1 <= top or row >= bottom:
        return " ", ""
    if look.band == "cells":
        return " ", "on-band" if _covers_middle(row, edges) else ""
    if top > row:
        eighth = int((row + 1 - top) * 8)
        return (_EIGHTHS[eighth - 1], "band") if eighth else (" ", "")
    if bottom < row + 1:
        # There are blocks that hang from the top in two sizes only.
        share = bottom - row
        return ("▀", "band") if 0.3 < share < 0.75 else (" ", "on-band") if share >= 0.75 else ("▔", "band")
    return " ", "on-band"


def _level(value: float, scale: Scale, levels: int) -> int:
    share = (scale.high - value) / (scale.high - scale.low)
    return int(share * levels + 1e-6) if share < 1 else levels - 1 if share == 1 else levels


def _ticks(scale: Scale, rows: int, axes: Axes) -> dict[int, str]:
    """Row → label, at round values."""
    span = scale.high - scale.low
    step = axes.step(span, max(2, rows // 3))
    first, last = ceil(scale.low / step - 1e-9), floor(scale.high / step + 1e-9)
    return {
        min(rows - 1, int((scale.high - i * step) / span * rows + 1e-6)): axes.y(i * step)
        for i in range(first, last + 1)
    }


def _x_axis(scale: Scale, columns: int, axes: Axes) -> list[Line]:
    parts = max(1, min(4, columns // 14))
    rule = ["─"] * columns
    labels = [" "] * (columns + _LABEL + 1)
    for i in range(parts + 1):
        at = min(columns - 1, round(columns * i / parts))
        rule[at] = "┬"
        text = axes.x(scale.x_max * i / parts)
        start = min(max(_LABEL + 1 + at - len(text) // 2, _LABEL + 1), len(labels) - len(text))
        labels[start : start + len(text)] = text
    return [[(" " * _LABEL + "└" + "".join(rule), "faint")], [("".join(labels), "dim")]]
