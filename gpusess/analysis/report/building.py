"""Runs → the blocks of their report: each run by itself, all of them against the first, and best of N."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpusess.analysis.best_of import BestOf, Estimate, best_of
from gpusess.analysis.compare import (
    ACCURACY,
    Against,
    Arm,
    Comparison,
    Side,
    arm_warnings,
    compare,
    settings_of,
)
from gpusess.analysis.intervals import wilson
from gpusess.analysis.metrics import is_share
from gpusess.analysis.report import svg
from gpusess.analysis.report.blocks import Block, Bullets, Heading, Paragraph, Plot, Table
from gpusess.analysis.run_state import RunState
from gpusess.analysis.sweep import curve

CURVE_POINTS = 400
CATEGORIES_DRAWN = 40


def report(sides: Sequence[Side], title: str, made: str) -> list[Block]:
    """All blocks. `made`: when and by what, in words."""
    found = compare(sides)
    blocks: list[Block] = [Heading(title, 1), Paragraph(made), *_overview(found)]
    blocks += _over_steps(sides)
    if found.against:
        blocks += _comparison(found)
    for number, (side, arm) in enumerate(zip(sides, found.arms, strict=True)):
        blocks += _run(side, arm, number)
    return blocks


def percent(value: float, low: float, high: float) -> str:
    """`62.1 % (59.3 - 64.8)`."""
    return f"{100 * value:.1f} % ({100 * low:.1f} - {100 * high:.1f})"


# --- all runs ------------------------------------------------------------------------------------------


def _overview(found: Comparison) -> Iterator[Block]:
    head = ("run", "model", "accuracy (95 %)", "n", "right", "wrong", "no answer", "failed")
    yield Table(head, [_overview_row(arm) for arm in found.arms])
    rows = [
        svg.Interval(arm.label, f.value, f.low, f.high, percent(f.value, f.low, f.high), i)
        for i, arm in enumerate(found.arms)
        if (f := arm.figures.get(ACCURACY))
    ]
    if rows:
        title = "Accuracy of each run with its 95% interval"
        yield Plot(svg.intervals(rows, title), f"{title}.")
    if found.warnings:
        yield Heading("Mind", 2)
        yield Bullets(found.warnings, alarming=True)


def _overview_row(arm: Arm) -> tuple[str, ...]:
    figure = arm.figures.get(ACCURACY)
    label = f"{arm.label} (forced)" if arm.forced else arm.label
    value = percent(figure.value, figure.low, figure.high) if figure else "no results"
    counts = (arm.right, arm.wrong, arm.no_answer, arm.failed)
    return (label, arm.model, value, f"{figure.n:,}" if figure else "0", *(f"{count:,}" for count in counts))


def _over_steps(sides: Sequence[Side]) -> Iterator[Block]:
    """Where checkpoints of a sweep are among the runs: their accuracy over the steps."""
    points = curve(sides)
    if not points:
        return
    title = "Accuracy over the steps of the training, with the 95% band"
    yield Heading("Over the steps", 2)
    yield Plot(svg.curves([svg.Curve("accuracy", points, 0)], title, "steps", growing=False), f"{title}.")
    yield Table(("step", "accuracy (95 %)"), [(f"{step:,.0f}", percent(*values)) for step, *values in points])


def _comparison(found: Comparison) -> Iterator[Block]:
    yield Heading(f"Against {found.arms[0].label}", 2)
    head = ("run", "metric", "difference (95 %)", "samples", "gained", "lost", "p", "p, adjusted")
    yield Table(head, [_against_row(row) for row in found.against])
    drawn = [row for row in found.against if row.metric == ACCURACY]
    if drawn:
        title = f"Difference in accuracy against {found.arms[0].label}, with its 95% interval"
        rows = [
            svg.Interval(r.second, r.paired.difference, r.paired.low, r.paired.high, _points(r), i + 1)
            for i, r in enumerate(drawn)
        ]
        yield Plot(
            svg.intervals(rows, title, zero=0.0, unit=" points"),
            f"{title}: paired bootstrap over the samples.",
        )
    yield Paragraph(
        "p: McNemar's exact test, two-sided; adjusted by Holm's rule for the number of runs. Gained: right "
        "here and wrong there (of other metrics: higher here); lost: the other way round."
    )
    yield Heading("What differs beside the model", 2)
    if found.differences:
        yield Table(
            ("setting", *(arm.label for arm in found.arms)), [(d.name, *d.values) for d in found.differences]
        )
    else:
        yield Paragraph("Nothing, as far as the runs recorded.")


def _against_row(row: Against) -> tuple[str, ...]:
    paired = row.paired
    p = "-" if paired.p is None else f"{paired.p:.2g}"
    adjusted = "-" if row.adjusted is None else f"{row.adjusted:.2g}"
    counts = (paired.n, paired.gained, paired.lost)
    return (row.second, row.metric, _points(row), *(f"{count:,}" for count in counts), p, adjusted)


def _points(row: Against) -> str:
    paired = row.paired
    if row.metric == ACCURACY or is_share(row.metric, paired.first, paired.second):
        low, high = 100 * paired.low, 100 * paired.high
        return f"{100 * paired.difference:+.1f} points ({low:+.1f} to {high:+.1f})"
    return f"{paired.difference:+.4g} ({paired.low:+.4g} to {paired.high:+.4g})"


# --- one run -------------------------------------------------------------------------------------------


def _run(side: Side, arm: Arm, number: int) -> Iterator[Block]:
    yield Heading(side.label, 2)
    warnings = arm_warnings(arm, side.state)
    if warnings:
        yield Bullets(warnings, alarming=True)
    yield Table(("", ""), list(_facts(side, arm)))
    points = _curve(side.answers.order)
    if len(points) > 1:
        title = f"Accuracy of {side.label} over its results, with the 95% Wilson band"
        yield Plot(svg.curves([svg.Curve(side.label, points, number)], title, "results"), f"{title}.")
    yield from _categories(side, number)
    found = best_of(side.answers)
    if found:
        yield from _best(found, number)
    yield Heading("Settings", 3)
    yield Table(("setting", "value"), list(settings_of(side.state).items()))
    yield from _findings(side.state)


def _facts(side: Side, arm: Arm) -> Iterator[tuple[str, str]]:
    answers = side.answers
    graded = max(1, arm.done - arm.failed)
    yield "model", arm.model
    yield "weights", arm.weights
    yield "results", f"{arm.done:,} of {arm.total:,}" if arm.total else f"{arm.done:,}"
    for name, figure in arm.figures.items():
        shares = name == ACCURACY or is_share(name, figure.low, figure.high)
        text = percent(figure.value, figure.low, figure.high)
        yield name, text if shares else f"{figure.value:.4g} ({figure.low:.4g} - {figure.high:.4g})"
    yield "right, wrong, no answer", f"{arm.right:,}, {arm.wrong:,}, {arm.no_answer:,}"
    unread = answers.count_of(reason="unparsed")
    yield "no answer", f"{arm.truncated:,} truncated, {arm.empty:,} empty, {unread:,} could not be parsed"
    yield "rules disagree", f"{arm.disagree:,} ({100 * arm.disagree / graded:.1f} %)"
    yield "uncertain readings", f"{answers.marked:,} ({100 * answers.marked / graded:.1f} %)"
    if arm.failed:
        yield "failed", f"{arm.failed:,}: no verdict, not counted"
    yield "tokens", f"{answers.tokens_in:,} in, {answers.tokens_out:,} out"
    if answers.first is not None and answers.last is not None:
        yield "first to last result", f"{answers.last - answers.first:,.0f} s"


def _curve(order: bytearray) -> list[tuple[float, float, float, float]]:
    """(results, accuracy, low, high) at up to CURVE_POINTS places."""
    step = max(1, len(order) // CURVE_POINTS)
    points, right = [], 0
    for at in range(0, len(order), step):
        right += order.count(1, at, at + step)
        n = min(at + step, len(order))
        points.append((float(n), right / n, *wilson(right, n)))
    return points


def _categories(side: Side, number: int) -> Iterator[Block]:
    tally = {name: counts for name, counts in side.answers.tally("category").items() if name}
    if len(tally) < 2:
        return
    yield Heading("By category", 3)
    rows = []
    for name, (right, n) in sorted(tally.items(), key=lambda item: (-item[1][1], item[0])):
        low, high = wilson(right, n)
        rows.append(svg.Interval(name, right / n, low, high, f"{percent(right / n, low, high)}", number))
    title = f"Accuracy of {side.label} by category, with 95% Wilson intervals"
    yield Plot(svg.intervals(rows[:CATEGORIES_DRAWN], title), f"{title}.")
    yield Table(
        ("category", "accuracy (95 %)", "n"), [(r.label, r.text, f"{tally[r.label][1]:,}") for r in rows]
    )


def _best(found: BestOf, number: int) -> Iterator[Block]:
    yield Heading(f"Best of {found.candidates}", 3)
    named = [("a random pick (baseline)", found.mean), ("majority vote", found.majority)]
    named += [(f"reranked by {row.name}", row.accuracy) for row in found.reranked]
    named.append(("oracle (any right)", found.oracle))
    closed = {f"reranked by {row.name}": row.closed for row in found.reranked}
    yield Table(
        ("pick", "accuracy (95 %)", "gap closed (95 %)"),
        [(name, _estimate(e), _estimate(closed[name]) if closed.get(name) else "") for name, e in named],
    )
    rows = [svg.Interval(name, e.value, e.low, e.high, _estimate(e), number) for name, e in named]
    title = "Accuracy by the way to pick one answer of each sample"
    yield Plot(svg.intervals(rows, title), f"{title}.")
    yield Table(("k", "pass@k (95 %)"), [(str(k), _estimate(e)) for k, e in found.pass_at.items()])
    if found.left_out:
        yield Paragraph(
            f"{found.left_out} samples have fewer than {found.candidates} answers and are left out."
        )
    for row in found.reranked:
        if row.samples < found.samples:
            yield Paragraph(
                f"{row.name} has scored {row.samples} of {found.samples} samples: its row rests on these, "
                f"where a random pick gives {100 * row.baseline:.1f} %, the oracle {100 * row.oracle:.1f} %."
            )


def _estimate(estimate: Estimate | None) -> str:
    return "" if estimate is None else percent(estimate.value, estimate.low, estimate.high)


def _findings(state: RunState) -> Iterator[Block]:
    found = [c for c in state.checks if c.status != "ok"]
    if found:
        yield Heading("What the checks found", 3)
        yield Table(("check", "", "finding"), [(c.name, c.status, c.message) for c in found])
    if state.alarm:
        yield Heading("Alarm", 3)
        yield Bullets(
            [state.alarm.message, *(f"maybe: {cause}" for cause in state.alarm.causes)], alarming=True
        )
