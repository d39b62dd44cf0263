"""What the names of metrics mean: which are shares, and which are taken over a whole run and are no mean.

The values themselves are in `answers.py`; nothing is read or printed here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from math import exp, fsum, isnan, log, sqrt
from typing import NamedTuple

from gpusess.analysis.intervals import Z95

SIZES = ("tokens", "bytes")
"""How long a scored text is: no result, but what its likelihood is divided by."""
_PLAIN = ("nll", "nll_token", "nll_byte", "cost", "perplexity", "bits_per_byte", *SIZES)
"""Metrics that are no shares, whatever their values."""
MOST = 700.0
"""Nats a token; more cannot be an exponent."""


class Quotient(NamedTuple):
    """A sum over a sum, with its 95% interval, and the samples that it rests on."""

    value: float
    low: float
    high: float
    n: int

    def through(self, function: Callable[[float], float]) -> Quotient:
        """The same on the scale of a function that rises."""
        return Quotient(function(self.value), function(self.low), function(self.high), self.n)


def is_share(name: str, *values: float) -> bool:
    """Whether a metric is shown in percent: between 0 and 1, and not known to be something else."""
    return name not in _PLAIN and all(0.0 <= value <= 1.0 for value in values)


def of_the_corpus(metrics: Mapping[str, array[float]]) -> dict[str, Quotient]:
    """`perplexity` and `bits_per_byte` of a run that scores texts; empty for any other.

    Perplexity is exp(sum of nll / sum of tokens) (Jelinek et al. 1977), bits per byte the sum of nll in bits
    over the sum of bytes: sums before the quotient, not a mean of quotients.
    """
    if not {"nll", *SIZES} <= metrics.keys():
        return {}
    columns = zip(metrics["nll"], metrics["tokens"], metrics["bytes"], strict=False)
    rows = [row for row in columns if not any(map(isnan, row)) and row[1] > 0.0 and row[2] > 0.0]
    if not rows:
        return {}
    nats = [row[0] for row in rows]
    token = quotient(nats, [row[1] for row in rows])
    byte = quotient(nats, [row[2] for row in rows])
    return {
        "bits_per_byte": byte.through(lambda value: value / log(2)),
        "perplexity": token.through(lambda value: exp(min(value, MOST))),
    }


def quotient(above: Sequence[float], below: Sequence[float]) -> Quotient:
    """The ratio of two sums over samples, with the normal interval of a ratio estimator.

    Source: W. G. Cochran, "Sampling Techniques", 3rd edition (1977), section 6.4.
    """
    n, whole = len(above), fsum(below)
    value = fsum(above) / whole
    squares = fsum((a - value * b) ** 2 for a, b in zip(above, below, strict=True))
    half = Z95 * sqrt(n * squares / max(1, n - 1)) / whole
    return Quotient(value, max(0.0, value - half), value + half, n)
