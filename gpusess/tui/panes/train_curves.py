"""A training's figures as curves: which there are and in what order, smoothed, and on which scale. Pure
functions; the tiles and the rows of a small terminal draw from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isnan, nan

from gpusess.analysis.run_state import RunState
from gpusess.analysis.training_health import Standing
from gpusess.tui import fmt
from gpusess.tui.widgets.line_chart import Axes, Point, Scale, nice_step

Value = tuple[int, float | None]
"""(step, figure); None: not a finite number."""

ACCURACY = "accuracy"
TITLES = {
    "reward": "reward",
    "loss": "loss",
    "kl": "KL",
    "ratio": "ratio",
    "grad_norm": "grad norm",
    "entropy": "entropy",
    ACCURACY: "accuracy",
    "token_accuracy": "token accuracy",
    "lr": "lr",
    "length": "length",
    "logprob": "log-prob",
    "repetition": "repetition",
    "tokens_per_second": "tokens/s",
    "clip_fraction": "clip fraction",
    "clipped": "cut off",
    "no_signal": "no signal",
    "reward_std": "reward std",
}
"""The order in which they are shown; what is not named here follows."""
SUPERVISED = ("loss", ACCURACY, "grad_norm", "token_accuracy", "entropy", "lr")
"""What comes first where there is no reward."""
_RULES = {"clipped": "length", "length": ""}
"""Figure → the guard's rule that looks at it, where their names differ."""
MOST = 1024
"""So many points are drawn of a curve: there are fewer dots in a row of a wide terminal."""
SHORT = 24
"""So few points are drawn as they are: there is nothing to smooth."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure over the steps."""

    name: str
    title: str
    points: list[Point]
    """As they were logged; for the accuracy with its band. NaN: not a finite number."""
    smooth: list[Point]
    now: float | None
    """None: not a finite number."""
    standing: Standing | None

    @property
    def alarmed(self) -> bool:
        return self.now is None or bool(self.standing and self.standing.state == "alarm")

    @property
    def limits(self) -> list[float]:
        """The guard's finite limits of this figure."""
        level = self.standing.level if self.standing else None
        # The rule looks at the smoothed reward; its limit is drawn all the same.
        return [v for v in (level.low, level.high) if math.isfinite(v)] if level else []


def names_of(state: RunState) -> list[str]:
    """The figures that the training has, in the order in which they are shown."""
    train = state.train
    if train is None:
        return []
    there = {name for name, values in train.figures.items() if values}
    if train.evaluations:
        there.add(ACCURACY)
    first = () if "reward" in there or train.method not in ("", "sft") else SUPERVISED
    order = [*first, *(name for name in TITLES if name not in first)]
    return [name for name in order if name in there] + sorted(there - set(order))


def curve_of(state: RunState, name: str, standings: Sequence[Standing]) -> Curve:
    """One of `names_of`."""
    assert state.train is not None
    if name == ACCURACY:
        points: list[Point] = [(p.n, p.accuracy, p.low, p.high) for p in state.curve]
        return Curve(name, TITLES[name], points, points, points[-1][1] if points else None, None)
    values = state.train.figures[name]
    rule = _RULES.get(name, name)
    standing = next((s for s in standings if s.rule == rule), None)
    points = _points(thinned(values))
    smooth = smoothed(_points(averaged(values)))
    return Curve(name, TITLES.get(name, name.replace("_", " ")), points, smooth, values[-1][1], standing)


def _points(values: Sequence[Value]) -> list[Point]:
    return [(step, nan if v is None else v, nan, nan) for step, v in values]


def smoothed(points: Sequence[Point]) -> list[Point]:
    """The exponential moving average over about a fifteenth of the points; it begins anew after a gap."""
    if len(points) < SHORT:
        return list(points)
    weight = 2.0 / (min(60, max(5, len(points) // 15)) + 1)
    found: list[Point] = []
    mean = nan
    for x, y, _, _ in points:
        mean = y if isnan(mean) or isnan(y) else mean + weight * (y - mean)
        found.append((x, mean, nan, nan))
    return found


def thinned(values: list[Value]) -> list[Value]:
    """At most about MOST of them: of each stretch the least, the greatest and the last, so that no spike is
    lost, and no gap."""
    if len(values) <= MOST:
        return values
    found: list[Value] = []
    for part in _stretches(values, MOST // 4):
        ys = [v for _, v in part]
        kept = {len(ys) - 1}
        if None in ys:
            kept.add(ys.index(None))
        numbers = [v for v in ys if v is not None]
        if numbers:
            kept |= {ys.index(min(numbers)), ys.index(max(numbers))}
        found += [part[i] for i in sorted(kept)]
    return found


def averaged(values: list[Value]) -> list[Value]:
    """At most about MOST of them: the mean of each stretch; None where one of it is None."""
    if len(values) <= MOST:
        return values
    found: list[Value] = []
    for part in _stretches(values, MOST):
        numbers = [v for _, v in part if v is not None]
        found.append((part[-1][0], sum(numbers) / len(numbers) if len(numbers) == len(part) else None))
    return found


def _stretches(values: list[Value], count: int) -> Iterator[list[Value]]:
    size = -(-len(values) // count)
    return (values[at : at + size] for at in range(0, len(values), size))


def scale_of(curve: Curve, total: float, before: Scale | None) -> Scale:
    """All that was logged, and the limits that lie near; it grows at once and shrinks rarely."""
    last = curve.points[-1][0] if curve.points else 0.0
    x_max = next((total / part for part in (8, 4, 2) if last <= total / part), max(total, last, 1.0))
    values = [y for _, y, _, _ in curve.points if not isnan(y)]
    if curve.name == ACCURACY:
        values = [v for _, _, low, high in curve.points for v in (low, high)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if 0 < high < 0.01:
        low = min(low, 0.0)  # labels of so small numbers have one digit
    elif low == high:
        low, high = low - abs(low) / 2, high + abs(high) / 2
    reach = high - low or 1.0
    near = [limit for limit in curve.limits if low - reach / 2 <= limit <= high + reach / 2]
    low, high = min([low, *near]), max([high, *near])
    step = nice_step(high - low or 1.0, 4)
    low, high = min(low, floor(low / step + 1e-9) * step), max(high, ceil(high / step - 1e-9) * step)
    if before and before.low <= low and high <= before.high and high - low > (before.high - before.low) * 0.5:
        low, high = before.low, before.high
    return Scale(x_max, low, high if high > low else low + step)


def axes_of(curve: Curve) -> Axes:
    return Axes() if curve.name == ACCURACY else Axes(y=tick_text, step=nice_step)


def tick_text(value: float) -> str:
    """At most 5 cells: 0.25, 1500, 2e-5."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        whole = f"{value:.0f}"
        return whole if len(whole) <= 5 else _powered(value)
    if size < 0.01:
        return _powered(value)
    return f"{value:.3g}" if len(f"{value:.3g}") <= 5 else f"{value:.2g}"


def _powered(value: float) -> str:
    """2e-5, 15e-6; empty where no label of 5 cells says just this."""
    power = math.floor(math.log10(abs(value)) + 1e-6)
    for exponent in (power, power - 1):
        text = f"{round(value / 10**exponent)}e{exponent}"
        if len(text) <= 5 and math.isclose(float(text), value, rel_tol=1e-3):
            return text
    return ""


def now_text(curve: Curve) -> str:
    if curve.now is None:
        return "not finite"
    if curve.name == ACCURACY:
        return f"{fmt.percent(curve.now)} %"
    if curve.name == "tokens_per_second":
        return fmt.compact(curve.now)
    return f"{curve.now:.3g}"


def verdict(curve: Curve) -> tuple[str, str]:
    """What the guard says of it in a few words, and the ink; empty where no rule looks at it."""
    if curve.now is None:
        return "▲ not finite", "err"
    found = curve.standing
    if found is None or found.state in ("off", "waiting"):
        return "", ""
    if found.state == "alarm":
        return f"▲ {_beyond(found)} for {fmt.many(found.broken or found.patience, 'step')}", "err"
    if found.state == "strained":
        return f"▲ {_beyond(found)}, {found.broken} of {found.patience}", "warn"
    return f"✓ {found.limit}", "dim"


def _beyond(found: Standing) -> str:
    level = found.level
    if level is None:
        return "broken"
    if found.rule == "no_signal":
        return "none"
    above = level.value > level.high
    return f"> {level.high:.3g}" if above else f"< {level.low:.3g}" if math.isfinite(level.low) else "broken"
