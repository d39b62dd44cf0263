"""Paired statistics: against values computed by other means, and rules that hold for all counts."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from math import comb, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusess.analysis.paired import (
    compare_shares,
    compare_values,
    detectable_difference,
    holm,
    mcnemar,
    needed_per_arm,
    needed_samples,
)
from gpusess.analysis.resampling import binomial, bootstrap_mean, bootstrap_of

COUNTS = st.integers(0, 60)


def exact_mcnemar(gained: int, lost: int) -> float:
    n, k = gained + lost, min(gained, lost)
    tail = Fraction(sum(comb(n, i) for i in range(k + 1)), 2**n)
    return min(1.0, float(2 * tail)) if n else 1.0


@given(COUNTS, COUNTS)
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == pytest.approx(exact_mcnemar(gained, lost), rel=1e-9)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


def test_mcnemar_of_a_million_flips_is_finite_and_quick() -> None:
    assert mcnemar(500_000, 500_000) == pytest.approx(1.0, abs=1e-3)
    # 2000 more of a million: (b - c) / sqrt(b + c) = 4, which the normal distribution puts at 6.3e-5.
    assert mcnemar(502_000, 498_000) == pytest.approx(6.3e-5, rel=0.02)


def test_a_textbook_table() -> None:
    # 25 discordant pairs, 5 against 20: 2 * P(Bin(25, 1/2) <= 5).
    assert mcnemar(20, 5) == pytest.approx(0.004077, abs=1e-6)


@given(
    st.dictionaries(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), st.integers(1, 500))
)
@settings(max_examples=40, deadline=None)
def test_a_comparison_of_verdicts(pairs: dict[tuple[float, float], int]) -> None:
    found = compare_shares(pairs)
    if not pairs:
        assert found is None
        return
    assert found is not None
    assert found.n == sum(pairs.values())
    assert found.gained == pairs.get((0.0, 1.0), 0)
    assert found.lost == pairs.get((1.0, 0.0), 0)
    assert found.difference == pytest.approx((found.gained - found.lost) / found.n)
    assert found.difference == pytest.approx(found.second - found.first)
    assert -1.0 <= found.low <= found.difference <= found.high <= 1.0
    assert (
        found.p == pytest.approx(exact_mcnemar(found.gained, found.lost), rel=1e-6) if found.n < 300 else True
    )
    turned = compare_shares({(b, a): n for (a, b), n in pairs.items()})
    assert turned is not None
    assert (turned.difference, turned.p) == (pytest.approx(-found.difference), found.p)


def test_no_flips_do_not_mean_that_there_are_none() -> None:
    found = compare_shares({(1.0, 1.0): 20, (0.0, 0.0): 10})
    assert found is not None
    assert (found.low, found.high, found.p) == (-0.1, 0.1, 1.0)
    assert not found.told_apart


def test_several_answers_a_sample_are_paired_by_sample_without_mcnemar() -> None:
    found = compare_shares({(0.5, 0.75): 40, (0.25, 0.25): 60})
    assert found is not None
    assert found.p is None
    assert found.difference == pytest.approx(0.1)
    assert found.told_apart


def test_metrics_pair_by_sample() -> None:
    rng = random.Random(1)
    first = [rng.gauss(2.0, 0.5) for _ in range(400)]
    second = [value - 0.1 + rng.gauss(0.0, 0.2) for value in first]
    found = compare_values(first, second)
    assert found is not None
    assert found.low < -0.1 < found.high
    assert found.high - found.low < 0.06  # the pairing takes the samples' own spread out
    assert found.p is None


def test_the_bootstrap_is_the_same_each_time_and_near_the_normal_interval() -> None:
    values = Counter({1.0: 62, 0.0: 900, -1.0: 38})
    low, high = bootstrap_mean(values) or (0.0, 0.0)
    assert (low, high) == bootstrap_mean(values)
    half = 1.96 * sqrt((100 - 24 * 24 / 1000) / 1000 / 1000)
    assert low == pytest.approx(0.024 - half, abs=0.003)
    assert high == pytest.approx(0.024 + half, abs=0.003)
    assert bootstrap_mean({}) is None


def test_many_different_values_get_the_interval_that_a_bootstrap_would_give() -> None:
    rng = random.Random(2)
    many = [rng.random() for _ in range(5000)]
    low, high = bootstrap_of(many) or (0.0, 0.0)
    mean = sum(many) / len(many)
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * sqrt(1 / 12 / 5000), rel=0.05)


@pytest.mark.parametrize(("n", "p"), [(10, 0.3), (200, 0.02), (1000, 0.5), (50_000, 0.9), (1_000_000, 0.25)])
def test_binomial_draws_have_the_mean_and_spread_of_their_distribution(n: int, p: float) -> None:
    rng, rounds = random.Random(3), 4000
    draws = [binomial(rng, n, p) for _ in range(rounds)]
    sd = sqrt(n * p * (1 - p))
    mean = sum(draws) / rounds
    spread = sqrt(sum((d - mean) ** 2 for d in draws) / rounds)
    assert all(0 <= d <= n for d in draws)
    assert abs(mean - n * p) < 4 * sd / sqrt(rounds)
    assert spread == pytest.approx(sd, rel=0.06)


def test_small_binomial_draws_have_their_distribution() -> None:
    rng, rounds = random.Random(4), 40_000
    for n, p in ((30, 0.45), (40, 0.5)):  # both ways of drawing
        seen = Counter(binomial(rng, n, p) for _ in range(rounds))
        for k in range(n + 1):
            chance = comb(n, k) * p**k * (1 - p) ** (n - k)
            assert abs(seen[k] / rounds - chance) < 5 * sqrt(chance / rounds) + 1e-4


@given(st.lists(st.floats(0.0, 1.0), max_size=8))
def test_holm_keeps_the_order_and_never_helps(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(a >= p for a, p in zip(adjusted, ps, strict=True))
    assert all(a <= 1.0 for a in adjusted)
    order = sorted(range(len(ps)), key=ps.__getitem__)
    assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(order))


def test_holm_on_a_known_case() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_how_many_samples_a_difference_takes() -> None:
    # 4 points where 20% flip: (1.96 * sqrt(.2) + .8416 * sqrt(.2 - .0016))^2 / .0016.
    assert needed_samples(0.04, 0.2) == 979
    assert needed_samples(0.0, 0.2) is None
    # 60% against 64%, unpaired.
    assert needed_per_arm(0.60, 0.64) == pytest.approx(2312, abs=5)
    assert needed_per_arm(0.5, 0.5) is None


@given(st.integers(10, 100_000), st.floats(0.01, 1.0))
def test_what_n_samples_show_is_what_takes_n_samples(n: int, flips: float) -> None:
    smallest = detectable_difference(n, flips)
    if smallest < sqrt(flips) / 3:  # where the approximation in the inverse is good
        needed = needed_samples(smallest, flips)
        assert needed is not None
        assert needed == pytest.approx(n, rel=0.1, abs=2)


def test_the_promised_power_is_reached() -> None:
    """Simulated: at the needed number of samples the exact test finds the difference about 4 times of 5."""
    rng, p10, p01 = random.Random(5), 0.14, 0.08
    n = needed_samples(p10 - p01, p10 + p01) or 0
    found = 0
    for _ in range(600):
        gained = binomial(rng, n, p10)
        lost = binomial(rng, n - gained, p01 / (1 - p10))
        found += mcnemar(gained, lost) < 0.05
    assert 0.74 < found / 600 < 0.86
