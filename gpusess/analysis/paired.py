"""Two runs on the same samples: the exact McNemar test, the paired bootstrap, and how many samples it takes.

Everything here works on counts; nothing reads a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, fsum, lgamma, log, sqrt

from gpusess.analysis.intervals import Z95
from gpusess.analysis.resampling import bootstrap_mean, bootstrap_of

Z80 = 0.8416212335729143
"""The 80% quantile of the standard normal distribution: the power that is planned for."""


@dataclass(frozen=True, slots=True)
class Paired:
    """What two runs say on the samples that both have. `difference`: second minus first, as a share."""

    n: int
    gained: int
    """Samples that the first got wrong and the second right."""
    lost: int
    """The other way round."""
    first: float
    second: float
    difference: float
    low: float
    high: float
    """95% interval of the difference: paired bootstrap over the samples."""
    p: float | None
    """McNemar's exact test, two-sided; None where a sample has several answers."""
    needed: int | None
    """Samples that would tell this difference with 80% power; None where there is none to tell."""
    detectable: float
    """The smallest difference that this many samples tell with 80% power."""

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0.0 or self.high < 0.0


def compare_shares(pairs: Mapping[tuple[float, float], int]) -> Paired | None:
    """(share right in the first, share right in the second) → how many samples; None for no samples.

    With one answer a sample the shares are 0 and 1, and McNemar's test is exact. With several answers the
    samples are still paired, and the bootstrap draws whole samples.
    """
    n = sum(pairs.values())
    if n == 0:
        return None
    differences: Counter[float] = Counter()
    for (a, b), count in pairs.items():
        differences[b - a] += count
    gained = sum(count for (a, b), count in pairs.items() if b > a)
    lost = sum(count for (a, b), count in pairs.items() if b < a)
    single = all(share in (0.0, 1.0) for pair in pairs for share in pair)
    return _paired(
        n,
        (gained, lost),
        sum(a * count for (a, _), count in pairs.items()) / n,
        sum(b * count for (_, b), count in pairs.items()) / n,
        sum(value * value * count for value, count in differences.items()) / n,
        bootstrap_mean(differences),
        mcnemar(gained, lost) if single else None,
    )


def compare_values(first: Sequence[float], second: Sequence[float]) -> Paired | None:
    """The same for a metric, sample by sample; None for no samples."""
    n = len(first)
    if n == 0:
        return None
    differences = [b - a for a, b in zip(first, second, strict=True)]
    gained, lost = sum(d > 0.0 for d in differences), sum(d < 0.0 for d in differences)
    single = set(differences) <= {-1.0, 0.0, 1.0} and set(first) <= {0.0, 1.0}
    return _paired(
        n,
        (gained, lost),
        fsum(first) / n,
        fsum(second) / n,
        fsum(d * d for d in differences) / n,
        bootstrap_of(differences),
        mcnemar(gained, lost) if single else None,
    )


def _paired(
    n: int,
    flips: tuple[int, int],
    first: float,
    second: float,
    spread: float,
    interval: tuple[float, float] | None,
    p: float | None,
) -> Paired:
    """spread: the mean square of a sample's difference."""
    difference = second - first
    assert interval is not None
    low, high = interval
    if flips == (0, 0):
        # A resample of no flips has none: what n samples may have missed, by the rule of three.
        low, high = -min(1.0, 3.0 / n), min(1.0, 3.0 / n)
    needed = needed_samples(difference, spread)
    smallest = detectable_difference(n, spread)
    return Paired(n, *flips, first, second, difference, low, high, p, needed, smallest)


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p value: whether the flips could be the throws of a fair coin.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12 (1947) 153-157; exact by the binomial distribution.
    """
    n, k = gained + lost, min(gained, lost)
    if n == 0:
        return 1.0
    term = exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2.0))
    tail, first = 0.0, term
    while k >= 0 and term > first * 1e-17:
        tail += term
        term *= k / (n - k + 1)
        k -= 1
    return min(1.0, 2.0 * tail)


def holm(ps: Sequence[float]) -> list[float]:
    """p values adjusted for their number. Source: S. Holm, "A simple sequentially rejective multiple test
    procedure", Scandinavian Journal of Statistics 6 (1979) 65-70."""
    adjusted, worst = [0.0] * len(ps), 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[at]))
        adjusted[at] = worst
    return adjusted


def needed_samples(difference: float, discordance: float) -> int | None:
    """Paired samples that tell `difference` apart from none at 5% with 80% power.

    discordance: the mean square of a sample's difference; with one answer a sample, the share that flips.
    Source: R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43 (1987) 207-211.
    """
    if difference == 0.0:
        return None
    inner = max(0.0, discordance - difference * difference)
    return ceil(((Z95 * sqrt(discordance) + Z80 * sqrt(inner)) / difference) ** 2)


def detectable_difference(n: int, discordance: float) -> float:
    """The smallest difference that n paired samples tell with 80% power, where so much flips: the inverse of
    `needed_samples`, at most 1. Where nothing has flipped yet, the flips that n samples may have missed
    (3 / n, the rule of three) are taken."""
    flips = discordance or min(1.0, 3.0 / n)
    return min(1.0, (Z95 + Z80) * sqrt(flips / n))


def needed_per_arm(first: float, second: float) -> int | None:
    """Samples in each of two unpaired arms that tell these accuracies apart at 5% with 80% power.

    Source: J. L. Fleiss, "Statistical methods for rates and proportions", 2nd ed. (1981), section 3.2,
    without the continuity correction.
    """
    if first == second:
        return None
    mean = (first + second) / 2.0
    apart = Z95 * sqrt(2.0 * mean * (1.0 - mean))
    within = Z80 * sqrt(first * (1.0 - first) + second * (1.0 - second))
    return ceil(((apart + within) / (first - second)) ** 2)
