"""Drawings as SVG text: intervals side by side, and curves with their bands. Every text in them is escaped.

Colours come from the page's style sheet, so that light and dark are its business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from gpusess.analysis.text import clean

WIDTH = 720
LABEL = 170
ROW = 26
VALUE = 190
CURVE_HEIGHT = 252
MARGIN = 46
POINTS = 240
"""Points of a curve that are drawn at most."""


Axis = Callable[[float], float]
"""A value → its place on the drawing."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One row: a point with its interval, and what is written beside it."""

    label: str
    value: float
    low: float
    high: float
    text: str
    series: int = 0


@dataclass(frozen=True, slots=True)
class Curve:
    """(x, y, low, high) in rising x."""

    label: str
    points: Sequence[tuple[float, float, float, float]]
    series: int = 0


def intervals(rows: Sequence[Interval], title: str, zero: float | None = None, unit: str = " %") -> str:
    """Points with intervals on a shared axis. `zero`: where a line is drawn across."""
    low = min([r.low for r in rows] + ([] if zero is None else [zero]))
    high = max([r.high for r in rows] + ([] if zero is None else [zero]))
    pad = (high - low) * 0.05 or 0.05
    low, high = low - pad, high + pad
    left, right = LABEL, WIDTH - VALUE

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    height = ROW * len(rows) + 34
    parts = [_ticks(low, high, x, height - 22, unit)]
    if zero is not None:
        parts.append(f'<line class="zero" x1="{x(zero):.1f}" x2="{x(zero):.1f}" y1="4" y2="{height - 26}"/>')
    for number, row in enumerate(rows):
        y = 16 + ROW * number
        ends = f'x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}"'
        parts.append(
            f'<text class="label" x="{LABEL - 10}" y="{y + 4}" text-anchor="end">{_short(row.label)}</text>'
            f'<line class="band s{row.series % 6}" {ends}/>'
            f'<circle class="dot s{row.series % 6}" cx="{x(row.value):.1f}" cy="{y}" r="4"/>'
            f'<text class="value" x="{right + 12}" y="{y + 4}">{_safe(row.text)}</text>'
        )
    return _svg(height, title, parts)


def curves(lines: Sequence[Curve], title: str, x_label: str, *, growing: bool = True) -> str:
    """Shares over counts, each with its band. growing: the first points rest on few results, and may lie
    outside."""
    most = max(line.points[-1][0] for line in lines) or 1.0
    shown = [p for line in lines for p in (_settled(line) if growing else line.points)]
    low = max(0.0, min(p[2] for p in shown) - 0.02)
    high = min(1.0, max(p[3] for p in shown) + 0.02)
    top, bottom = 12, CURVE_HEIGHT - 46

    def x(value: float) -> float:
        return MARGIN + value / most * (WIDTH - MARGIN - 20)

    def y(value: float) -> float:
        share = (min(max(value, low), high) - low) / ((high - low) or 1.0)
        return bottom - share * (bottom - top)

    parts = [_rules(low, high, y), _ticks(0, most, x, bottom + 6)]
    place = f'x="{WIDTH - 20}" y="{CURVE_HEIGHT - 4}" text-anchor="end"'
    parts.append(f'<text class="value" {place}>{_safe(x_label)}</text>')
    for line in lines:
        points = _thinned(line.points)
        edge = [f"{x(px):.1f},{y(up):.1f}" for px, _, _, up in points]
        edge += [f"{x(px):.1f},{y(down):.1f}" for px, _, down, _ in reversed(points)]
        path = " ".join(f"{x(px):.1f},{y(py):.1f}" for px, py, _, _ in points)
        parts.append(f'<polygon class="area s{line.series % 6}" points="{" ".join(edge)}"/>')
        parts.append(f'<polyline class="curve s{line.series % 6}" points="{path}"/>')
    return _svg(CURVE_HEIGHT, title, parts)


def _settled(line: Curve) -> Sequence[tuple[float, float, float, float]]:
    """The points after the wild beginning, which would make the axis as long as it can be."""
    after = [p for p in line.points if p[0] >= line.points[-1][0] * 0.1]
    return after or line.points


def _thinned(
    points: Sequence[tuple[float, float, float, float]],
) -> Sequence[tuple[float, float, float, float]]:
    step = max(1, len(points) // POINTS)
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _ticks(low: float, high: float, x: Axis, y: float, unit: str = "") -> str:
    parts = []
    for value in steps(low, high):
        text = f"{100 * value:g}{unit}" if unit else f"{value:,.0f}"
        at = x(value)
        parts.append(f'<line class="tick" x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="{y:.0f}"/>')
        parts.append(f'<text class="axis" x="{at:.1f}" y="{y + 14:.0f}" text-anchor="middle">{text}</text>')
    return "".join(parts)


def _rules(low: float, high: float, y: Axis) -> str:
    parts = []
    for value in steps(low, high):
        at = y(value)
        parts.append(f'<line class="tick" x1="{MARGIN}" x2="{WIDTH - 20}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="axis" x="{MARGIN - 6}" y="{at + 4:.1f}" text-anchor="end">{100 * value:g} %</text>'
        )
    return "".join(parts)


def steps(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers between low and high."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** floor(log10(span / wanted))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= wanted)
    return [round(i * step, 10) for i in range(ceil(low / step), floor(high / step) + 1)]


def _safe(text: str) -> str:
    return escape(clean(text))


def _short(text: str) -> str:
    line = clean(text)
    return escape(line if len(line) <= 24 else f"{line[:23]}…")


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{_safe(title)}">'
        f"<title>{_safe(title)}</title>{''.join(parts)}</svg>"
    )
