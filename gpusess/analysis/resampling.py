"""Bootstrap intervals of a mean, drawn from a seed: the same values give the same interval on any machine.

Values are taken with their multiplicities. Where few of them differ (verdicts, pass rates) a resample is one
multinomial draw, so a million samples cost no more than thirty.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, lgamma, log, log1p, sqrt

from gpusess.analysis.intervals import Z95

ROUNDS = 2000
SEED = 20240613
FEW_VALUES = 64
"""Up to that many different values a resample is a multinomial draw."""
MANY_SAMPLES = 3000
"""Above that, values that all differ get the normal interval, which the bootstrap's then equals closely."""

_DIRECT_LIMIT = 12.0


def bootstrap_mean(
    values: Mapping[float, int], rounds: int = ROUNDS, seed: int = SEED
) -> tuple[float, float] | None:
    """The 95% percentile interval of the mean of `values` (value → how often); None for no values.

    Source: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979) 1-26.
    """
    n = sum(values.values())
    if n == 0:
        return None
    if len(values) == 1:
        (only,) = values
        return only, only
    ordered = sorted(values.items())
    if len(ordered) <= FEW_VALUES:
        rng = random.Random(seed)
        means = [_multinomial_mean(rng, ordered, n) for _ in range(rounds)]
    elif n <= MANY_SAMPLES:
        rng = random.Random(seed)
        flat = [value for value, count in ordered for _ in range(count)]
        means = [fsum(rng.choices(flat, k=n)) / n for _ in range(rounds)]
    else:
        return _normal(ordered, n)
    return percentiles(means)


def percentiles(draws: list[float]) -> tuple[float, float]:
    """The 2.5% and 97.5% quantiles of bootstrap draws."""
    draws.sort()
    last = len(draws) - 1
    return draws[round(0.025 * last)], draws[round(0.975 * last)]


def _normal(ordered: list[tuple[float, int]], n: int) -> tuple[float, float]:
    mean = fsum(value * count for value, count in ordered) / n
    variance = fsum(count * (value - mean) ** 2 for value, count in ordered) / n
    half = Z95 * sqrt(variance / n)
    return mean - half, mean + half


def _multinomial_mean(rng: random.Random, ordered: list[tuple[float, int]], n: int) -> float:
    """The mean of one resample: a multinomial draw as a chain of binomial ones."""
    left, weight, total = n, n, 0.0
    for value, count in ordered:
        if left == 0:
            break
        drawn = left if count == weight else binomial(rng, left, count / weight)
        total += value * drawn
        left -= drawn
        weight -= count
    return total / n


def binomial(rng: random.Random, n: int, p: float) -> int:
    """One draw from the binomial distribution.

    Few expected successes: by the gaps between them, which are geometric (L. Devroye, "Non-uniform random
    variate generation", 1986, ch. X.4). Many: transformed rejection (W. Hörmann, "The generation of binomial
    random variates", J. Stat. Comput. Simul. 46 (1993) 101-110, algorithm BTRS).
    """
    if p > 0.5:
        return n - binomial(rng, n, 1.0 - p)
    if n == 0 or p <= 0.0:
        return 0
    if n * p < _DIRECT_LIMIT:
        return _by_gaps(rng, n, p)
    return _by_rejection(rng, n, p)


def _by_gaps(rng: random.Random, n: int, p: float) -> int:
    scale, at, hits = log1p(-p), 0, 0
    while True:
        at += int(log(1.0 - rng.random()) / scale) + 1
        if at > n:
            return hits
        hits += 1


def _by_rejection(rng: random.Random, n: int, p: float) -> int:
    spread = sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    centre = n * p + 0.5
    sure = 0.92 - 4.2 / b
    odds, mode = log(p / (1.0 - p)), int((n + 1) * p)
    at_mode = lgamma(mode + 1) + lgamma(n - mode + 1)
    while True:
        u, v = rng.random() - 0.5, 1.0 - rng.random()
        us = 0.5 - abs(u)
        k = int((2.0 * a / us + b) * u + centre) if us > 0.0 else -1
        if not 0 <= k <= n:
            continue
        if us >= 0.07 and v <= sure:
            return k
        alpha = (2.83 + 5.1 / b) * spread
        bound = at_mode - lgamma(k + 1) - lgamma(n - k + 1) + (k - mode) * odds
        if log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


def bootstrap_of(values: Sequence[float]) -> tuple[float, float] | None:
    """`bootstrap_mean` of values one by one, without counting a million values that all differ."""
    n = len(values)
    if n > MANY_SAMPLES and len(set(values[:MANY_SAMPLES])) > FEW_VALUES:
        mean = fsum(values) / n
        half = Z95 * sqrt(fsum((value - mean) ** 2 for value in values) / n / n)
        return mean - half, mean + half
    return bootstrap_mean(Counter(values))
