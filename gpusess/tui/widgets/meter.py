"""Bars and sparklines in one row of text. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from gpusess.tui.spans import Line

_LEVELS = "▁▂▃▄▅▆▇"


def bar(share: float, cells: int, ink: str = "ok") -> Line:
    """A thin bar that is `share` (0..1) full, to half a cell."""
    halves = round(min(1.0, max(0.0, share)) * cells * 2)
    full, half = divmod(halves, 2)
    rest = cells - full - half
    return [("━" * full + "╸" * half, ink), ("─" * rest, "faint")]


def interval_bar(low: float, mid: float, high: float, cells: int, ink: str = "data") -> Line:
    """A proportion with its interval on a scale of 0..1: solid to `low`, dashed to `high`, a dot at `mid`."""
    first, last = round(low * cells), max(round(high * cells), round(low * cells) + 1)
    dot = min(max(first, int(mid * cells)), cells - 1)
    line: Line = []
    for x in range(cells):
        if x == dot:
            line.append(("●", f"{ink} bold"))
        elif x < first:
            line.append(("━", ink))
        elif x < last:
            line.append(("╌", ink))
        else:
            line.append(("─", "faint"))
    return line


def spark(values: Sequence[float], cells: int, low: float | None = None, high: float | None = None) -> str:
    """The newest values as blocks of height, as many as there are, at most `cells`; scaled to low..high.

    More values than cells are put into buckets by their mean.
    """
    if not values or cells <= 0:
        return ""
    shown = _buckets(values, cells)
    bottom = min(shown) if low is None else low
    top = max(shown) if high is None else high
    span = (top - bottom) or 1.0
    return "".join(_LEVELS[min(6, max(0, int((v - bottom) / span * 7)))] for v in shown)


def _buckets(values: Sequence[float], cells: int) -> list[float]:
    if len(values) <= cells:
        return list(values)
    edges = [round(i * len(values) / cells) for i in range(cells + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
