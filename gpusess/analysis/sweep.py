"""A sweep's checkpoints as points over their steps: each with its accuracy and band, and paired with the
first of them, which is the base model where that was evaluated. Pure, like the comparison that it rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpusess.analysis.compare import ACCURACY, Against, Comparison, Side, compare


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint. Shares; the band is 95%, Wilson's for one answer a sample."""

    name: str
    step: int
    model: str
    right: int
    n: int
    accuracy: float
    low: float
    high: float
    done: int
    total: int
    against: Against | None
    """Against the first; None for the first itself, and where they have no sample in common."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has found. `against`: the name of what the others are held against."""

    points: list[Point]
    against: str
    comparison: Comparison


def swept(sides: Sequence[Side]) -> Swept:
    """sides: one a checkpoint, in the order of their steps. Those without a graded result have no point."""
    found = compare(sides)
    rows = {row.second: row for row in found.against if row.metric == ACCURACY}
    points = []
    for side, arm in zip(sides, found.arms, strict=True):
        figure = arm.figures.get(ACCURACY)
        if figure is None:
            continue
        place, counts = (side.state.arm, side.state.step, arm.model), (arm.right, figure.n)
        band = figure.value, figure.low, figure.high
        points.append(Point(*place, *counts, *band, arm.done, arm.total, rows.get(arm.label)))
    return Swept(points, sides[0].state.arm if sides else "", found)


def curve(sides: Sequence[Side]) -> list[tuple[float, float, float, float]]:
    """(step, accuracy, low, high) of the sides that are checkpoints of a sweep; empty for fewer than two."""
    chosen = [side for side in sides if side.state.arm]
    found = [(float(p.step), p.accuracy, p.low, p.high) for p in swept(chosen).points] if chosen else []
    return found if len(found) > 1 else []


def facts(point: Point) -> dict[str, Any]:
    """A point for a program."""
    row = point.against
    paired = None if row is None else row.paired
    return {
        "name": point.name,
        "step": point.step,
        "model": point.model,
        "n": point.n,
        "right": point.right,
        "accuracy": point.accuracy,
        "band95": [point.low, point.high],
        "done": point.done,
        "total": point.total,
        "against": None
        if row is None or paired is None
        else {
            "n": paired.n,
            "difference": paired.difference,
            "difference95": [paired.low, paired.high],
            "gained": paired.gained,
            "lost": paired.lost,
            "p": paired.p,
            "p_adjusted": row.adjusted,
        },
    }
