"""Whether a mean can still be what was expected: a test that may be looked at after every batch.

Pure arithmetic of the standard library, so that both sides can use it. A unit is the mean of one batch's
verdicts, not one verdict: the samples of a batch are alike in length and so not independent, while the
batches come in an order of chance.
"""

from __future__ import annotations

from collections import Counter
from math import exp, log

ALPHA = 0.05
"""The chance of a false alarm in a whole run, however often it is looked at."""
STAKES = tuple(0.97 * 0.72**i for i in range(16))
"""Shares of the largest stake that cannot ruin: large ones find large differences soon, small ones find small
differences at last."""
WEIGHTS = (0.5, *(0.5 / (len(STAKES) - 1) for _ in STAKES[1:]))
"""What is put on each: half on the largest, since what is quite wrong should be known early."""
HALVINGS = 40


class Betting:
    """A confidence sequence for the mean of units in 0..1, by betting against every mean.

    Who stakes a constant share s on "more than m" gains the factor 1 - s + s * x / m with each unit x, and on
    "less than m" the factor 1 - s + s * (1 - x) / (1 - m). Where the mean is m, both wealths are martingales
    that begin with 1, whatever the units' distribution, and so is a mixture over s; that one ever reaches c
    has a chance of at most 1 / c (Ville's inequality). The means against which neither wealth has reached
    2 / alpha are the band: it holds at all times together with probability 1 - alpha.

    Source: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", Journal
    of the Royal Statistical Society B 86 (2024) 1-27.
    """

    def __init__(self, alpha: float = ALPHA) -> None:
        self._limit = log(2.0 / alpha)
        self._units: Counter[float] = Counter()

    def take(self, unit: float) -> None:
        """One more unit, 0..1."""
        self._units[unit] += 1

    @property
    def mean(self) -> float | None:
        """Of all units; None before the first."""
        n = self._units.total()
        return sum(x * count for x, count in self._units.items()) / n if n else None

    def surely_above(self, mean: float) -> bool:
        """Whether the units' mean is more than `mean`, with confidence 1 - alpha / 2 at all times."""
        return mean < 1.0 and self._wealth(mean, above=True) >= self._limit

    def surely_below(self, mean: float) -> bool:
        """Whether the units' mean is less than `mean`, with confidence 1 - alpha / 2 at all times."""
        return mean > 0.0 and self._wealth(mean, above=False) >= self._limit

    def band(self) -> tuple[float, float]:
        """The means that are not excluded, (low, high); (0, 1) before the first unit."""
        mean = self.mean
        if mean is None:
            return 0.0, 1.0
        # Both wealths are monotone in the mean that is betted against, so halving finds the ends. What is
        # returned lies on the band's outer side.
        low = self._edge(0.0, mean, above=True) if mean > 0.0 and self.surely_above(0.0) else 0.0
        high = self._edge(1.0, mean, above=False) if mean < 1.0 and self.surely_below(1.0) else 1.0
        return low, high

    def _edge(self, excluded: float, kept: float, *, above: bool) -> float:
        for _ in range(HALVINGS):
            middle = (excluded + kept) / 2.0
            if self._wealth(middle, above=above) >= self._limit:
                excluded = middle
            else:
                kept = middle
        return excluded

    def _wealth(self, mean: float, *, above: bool) -> float:
        """The natural logarithm of the mixture's wealth."""
        scale = mean if above else 1.0 - mean
        if scale <= 0.0:  # a single unit that is not 0 (or 1) excludes the mean 0 (or 1)
            return float("inf") if any(self._gain(x, above) > 0.0 for x in self._units) else 0.0
        logs = [
            sum(
                count * log(1.0 - stake + stake * self._gain(x, above) / scale)
                for x, count in self._units.items()
            )
            + log(weight)
            for stake, weight in zip(STAKES, WEIGHTS, strict=True)
        ]
        most = max(logs)
        return most + log(sum(exp(value - most) for value in logs))

    @staticmethod
    def _gain(unit: float, above: bool) -> float:
        return unit if above else 1.0 - unit
