"""Confidence intervals for proportions."""

from __future__ import annotations

from math import sqrt

Z95 = 1.959963984540054
"""The 97.5% quantile of the standard normal distribution."""


def wilson(right: int, n: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a proportion, (low, high) in 0..1; (0, 1) where n is 0.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927) 209-212. Unlike the normal approximation it never leaves 0..1 and holds for small n.
    """
    if n <= 0:
        return 0.0, 1.0
    p = right / n
    denominator = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / denominator
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / denominator
    # At p = 0 and p = 1 the exact bounds are 0 and 1; rounding must not cross them.
    low = 0.0 if right <= 0 else max(0.0, centre - half)
    high = 1.0 if right >= n else min(1.0, centre + half)
    return low, high
