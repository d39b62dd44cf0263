"""A sweep as lines of text: the table of its checkpoints, and the accuracy over their steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor

from gpusess.analysis.sweep import Point, Swept
from gpusess.analysis.sweep_state import SweepState
from gpusess.analysis.text import clean
from gpusess.cli.comparison_text import change, p_text, table

CHART_HEIGHT = 12
CHART_WIDTH = 100


def sweep_lines(found: Swept, state: SweepState, *, width: int, ascii_only: bool) -> list[str]:
    """All that is said of a sweep. width: cells of a line."""
    head = ("CHECKPOINT", "STEP", "N", "ACCURACY (95 %)", f"AGAINST {found.against.upper()} (95 %)", "P")
    lines = table([(*head, "GAINED", "LOST"), *map(_row, found.points)])
    if len(found.points) > 1:
        lines += [
            "",
            "Accuracy over the steps, with its 95 % band:",
            *_chart(found.points, width, ascii_only),
        ]
    lines += ["", *_best(found)]
    lines += [f"passed over: {clean(p.name)}: {clean(p.reason)}" for p in state.passed_over]
    if found.comparison.warnings:
        lines += ["", "Mind:", *(f"  - {clean(text)}" for text in found.comparison.warnings)]
    return lines


def _row(point: Point) -> tuple[str, ...]:
    band = f"{100 * point.accuracy:.1f} % ({100 * point.low:.1f} - {100 * point.high:.1f})"
    head = (clean(point.name), f"{point.step:,}", f"{point.n:,}", band)
    if point.against is None:
        return (*head, "", "", "", "")
    paired = point.against.paired
    p = "-" if point.against.adjusted is None else p_text(point.against.adjusted)
    return (*head, change(point.against), p, f"{paired.gained:,}", f"{paired.lost:,}")


def _best(found: Swept) -> Iterator[str]:
    """What may be said of the highest of them, and what not."""
    if len(found.points) < 2:
        return
    yield "P: McNemar's exact test, adjusted for the number of checkpoints (Holm)."
    best = max(found.points, key=lambda point: (point.accuracy, -point.step))
    if best is found.points[0]:
        yield f"No checkpoint is above {clean(best.name)} with its {100 * best.accuracy:.1f} %."
        return
    yield (
        f"{clean(best.name)} is the best of {len(found.points)} with {100 * best.accuracy:.1f} %. The best "
        "of several is too good by chance: measure it on samples that it was not chosen by."
    )


def _chart(points: Sequence[Point], width: int, ascii_only: bool) -> list[str]:
    from gpusess.tui.spans import plain
    from gpusess.tui.widgets.line_chart import Look, Scale, plot

    rows = [(float(p.step), p.accuracy, p.low, p.high) for p in points]
    low = floor(min(row[2] for row in rows) * 20) / 20
    high = ceil(max(row[3] for row in rows) * 20) / 20
    scale = Scale(max(rows[-1][0], 1.0), low, max(high, low + 0.05))
    look = Look("edges", braille=not ascii_only)
    lines = plot(rows, scale, min(width, CHART_WIDTH), CHART_HEIGHT, look)
    texts = [plain(line).rstrip() for line in lines]
    return [text.translate(_ASCII) for text in texts] if ascii_only else texts


_ASCII = str.maketrans(
    {"┤": "|", "│": "|", "└": "+", "─": "-", "┬": "+", "·": ".", "˙": ".", "▔": ".", "▁": "."}
)
