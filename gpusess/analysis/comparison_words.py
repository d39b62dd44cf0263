"""A comparison's numbers in words, for command line and cockpit: an interval, a difference, a test."""

from __future__ import annotations

from gpusess.analysis.compare import ACCURACY, Against, Figure
from gpusess.analysis.metrics import is_share


def figure_text(name: str, figure: Figure) -> str:
    """Shares in percent, everything else as it is."""
    if name == ACCURACY or is_share(name, figure.low, figure.high):
        return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} - {100 * figure.high:.1f})"
    return f"{figure.value:.4g} ({figure.low:.4g} - {figure.high:.4g})"


def against_lines(row: Against) -> list[str]:
    """`B against A, accuracy: +2.4 points (95 % +0.3 to +4.6)`, the test, and the flips."""
    paired = row.paired
    head = f"{row.second} against {row.first}, {row.metric}: {change(row)}"
    # Of a likelihood or a cost less is better: what has risen is not gained.
    more, less = ("gained", "lost") if row.metric == ACCURACY else ("higher", "lower")
    counts = f"{paired.gained:,} {more}, {paired.lost:,} {less}"
    return [head, f"  {paired.n:,} samples in both: {counts}{_test(row)}"]


def change(row: Against) -> str:
    """The difference with its interval: points for shares, else plain."""
    paired = row.paired
    shares = row.metric == ACCURACY or is_share(row.metric, paired.first, paired.second)
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


def short(text: str, limit: int = 40) -> str:
    """One line; the end of a long name tells more than its beginning."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"…{line[1 - limit :]}" if "/" in line else f"{line[: limit - 1]}…"
