"""A comparison as lines of text, for `gpusess compare` and the Markdown report."""

from __future__ import annotations

from collections.abc import Sequence

from gpusess.analysis.compare import ACCURACY, Arm, Comparison
from gpusess.analysis.comparison_words import against_lines, figure_text, short
from gpusess.analysis.comparison_words import change as change
from gpusess.analysis.comparison_words import p_text as p_text

HEADINGS = ("RUN", "MODEL", "METRIC", "VALUE (95 %)", "N", "RIGHT", "WRONG", "NO ANSWER", "FAILED")


def comparison_lines(found: Comparison) -> list[str]:
    lines = table([HEADINGS, *(row for arm in found.arms for row in arm_rows(arm))])
    for row in found.against:
        lines += ["", *against_lines(row)] if row.metric == ACCURACY else against_lines(row)
    if found.differences:
        lines += ["", "Not only the model differs:"]
        lines += [f"  {line}" for line in table([difference_row(found.arms, None), *_differences(found)])]
    elif len({arm.model for arm in found.arms}) > 1:
        lines += ["", "Nothing but the model differs, as far as the runs recorded."]
    if found.warnings:
        lines += ["", "Mind:", *(f"  - {text}" for text in found.warnings)]
    return lines


def arm_rows(arm: Arm) -> list[tuple[str, ...]]:
    """One row a metric; what the metrics share stands in the first."""
    counts = (arm.right, arm.wrong, arm.no_answer, arm.failed)
    label = f"{arm.label} (forced)" if arm.forced else arm.label
    rows: list[tuple[str, ...]] = []
    for name, figure in arm.figures.items():
        head = (label, short(arm.model)) if not rows else ("", "")
        tail = tuple(f"{count:,}" for count in counts) if not rows else ("",) * 4
        rows.append((*head, name, figure_text(name, figure), f"{figure.n:,}", *tail))
    return rows or [(label, short(arm.model), "-", "no results", "0", "-", "-", "-", f"{arm.failed:,}")]


def difference_row(arms: Sequence[Arm], values: Sequence[str] | None) -> tuple[str, ...]:
    """The heading (no values) of the table of differences."""
    return ("", *(arm.label for arm in arms)) if values is None else tuple(values)


def _differences(found: Comparison) -> list[tuple[str, ...]]:
    return [(row.name, *(short(value, 60) for value in row.values)) for row in found.differences]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = ((cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return ["  ".join(line).rstrip() for line in cells]
