"""A comparison as lines of text, for `gpusess compare` and the Markdown report."""

from __future__ import annotations

from collections.abc import Sequence

from gpusess.analysis.compare import ACCURACY, Against, Arm, Comparison, Figure

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


def figure_text(name: str, figure: Figure) -> str:
    """Shares in percent, everything else as it is."""
    if name == ACCURACY or (figure.low >= 0.0 and figure.high <= 1.0):
        return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} - {100 * figure.high:.1f})"
    return f"{figure.value:.4g} ({figure.low:.4g} - {figure.high:.4g})"


def against_lines(row: Against) -> list[str]:
    """`B against A, accuracy: +2.4 points (95 % +0.3 to +4.6)`, the test, and the flips."""
    paired = row.paired
    head = f"{row.second} against {row.first}, {row.metric}: {change(row)}"
    return [
        head,
        f"  {paired.n:,} samples in both: {paired.gained:,} gained, {paired.lost:,} lost{_test(row)}",
    ]


def change(row: Against) -> str:
    """The difference with its interval: points for shares, else plain."""
    paired = row.paired
    shares = row.metric == ACCURACY or all(0.0 <= v <= 1.0 for v in (paired.first, paired.second))
    scale, unit, digits = (100.0, " points", 1) if shares else (1.0, "", 4)
    value, low, high = (f"{scale * v:+.{digits}f}" for v in (paired.difference, paired.low, paired.high))
    return f"{value}{unit} (95 % {low} to {high})"


def _test(row: Against) -> str:
    if row.paired.p is None:
        return ""
    text = f"; p = {p_text(row.paired.p)} (McNemar, exact)"
    if row.adjusted is not None and row.adjusted != row.paired.p:
        text += f", {p_text(row.adjusted)} adjusted for the number of runs (Holm)"
    return text


def p_text(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else f"{p:.0e}"


def difference_row(arms: Sequence[Arm], values: Sequence[str] | None) -> tuple[str, ...]:
    """The heading (no values) of the table of differences."""
    return ("", *(arm.label for arm in arms)) if values is None else tuple(values)


def _differences(found: Comparison) -> list[tuple[str, ...]]:
    return [(row.name, *(short(value, 60) for value in row.values)) for row in found.differences]


def short(text: str, limit: int = 40) -> str:
    """One line; the end of a long name tells more than its beginning."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"…{line[1 - limit :]}" if "/" in line else f"{line[: limit - 1]}…"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = ((cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return ["  ".join(line).rstrip() for line in cells]
