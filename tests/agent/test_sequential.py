"""The confidence sequence: it covers however often it is looked at, whatever the units, and it finds what it
should find."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_agent.sequential import Betting

UNITS = st.lists(st.integers(0, 16).map(lambda right: right / 16), max_size=60)


def of(units: list[float], alpha: float = 0.05) -> Betting:
    betting = Betting(alpha)
    for unit in units:
        betting.take(unit)
    return betting


@given(UNITS)
@settings(max_examples=60, deadline=None)
def test_the_band_holds_the_mean_and_is_what_the_tests_say(units: list[float]) -> None:
    betting = of(units)
    low, high = betting.band()
    assert 0.0 <= low <= high <= 1.0
    if units:
        assert low <= sum(units) / len(units) + 1e-9
        assert high >= sum(units) / len(units) - 1e-9
    for mean in (0.05, 0.3, 0.5, 0.7, 0.95):
        if abs(mean - low) > 1e-6:
            assert betting.surely_above(mean) == (mean < low)
        if abs(mean - high) > 1e-6:
            assert betting.surely_below(mean) == (mean > high)


@given(UNITS, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_units_does_not_matter(units: list[float], rng: random.Random) -> None:
    shuffled = list(units)
    rng.shuffle(shuffled)
    assert of(units).band() == pytest.approx(of(shuffled).band())


@given(UNITS)
@settings(max_examples=20, deadline=None)
def test_right_and_wrong_are_treated_alike(units: list[float]) -> None:
    low, high = of(units).band()
    mirrored = of([1.0 - unit for unit in units]).band()
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-9)


def single(p: float) -> Callable[[random.Random], float]:
    return lambda rng: float(rng.random() < p)


def batch(p: float) -> Callable[[random.Random], float]:
    """16 verdicts that share their difficulty: easy and hard batches, far from independent samples."""

    def draw(rng: random.Random) -> float:
        here = p + rng.choice((-1, 1)) * min(p, 1 - p) * 0.8
        return sum(rng.random() < here for _ in range(16)) / 16

    return draw


@pytest.mark.parametrize("p", [0.02, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("kind", [single, batch])
def test_peeking_after_every_unit_raises_few_false_alarms(
    kind: Callable[[float], Callable[[random.Random], float]], p: float
) -> None:
    """With alpha 0.2 at most a fifth of the runs may ever exclude the truth; the true mean is expected."""
    draw, rng, runs = kind(p), random.Random(7), 80
    alarms = 0
    for _ in range(runs):
        betting = Betting(alpha=0.2)
        for _ in range(80):
            betting.take(draw(rng))
            if betting.surely_above(p) or betting.surely_below(p):
                alarms += 1
                break
    assert alarms / runs <= 0.2 + 2 * (0.16 / runs) ** 0.5


def test_testing_each_time_with_an_ordinary_interval_would_not_do() -> None:
    """Why the sequence is needed: Wilson's 95% interval, looked at after every verdict, is wrong in far more
    than one run of twenty."""
    from gpusess.analysis.intervals import wilson

    rng, runs, alarms = random.Random(8), 200, 0
    for _ in range(runs):
        right = 0
        for n in range(1, 400):
            right += rng.random() < 0.6
            low, high = wilson(right, n)
            if not low <= 0.6 <= high:
                alarms += 1
                break
    assert alarms / runs > 0.2


def test_what_is_quite_wrong_is_found_within_a_few_batches() -> None:
    assert not of([0.0] * 3).surely_below(0.6)
    assert of([0.0] * 5).surely_below(0.6)


def test_a_small_difference_is_found_in_time_and_not_before() -> None:
    rng, betting, found = random.Random(9), Betting(), None
    for n in range(1, 4000):
        betting.take(float(rng.random() < 0.50))
        if betting.surely_below(0.60):
            found = n
            break
    assert found is not None
    assert 50 < found < 1500


def test_a_long_run_narrows_the_band() -> None:
    rng, betting = random.Random(10), Betting()
    widths = {}
    for n in range(1, 10_001):
        betting.take(float(rng.random() < 0.6))
        if n in (100, 1000, 10_000):
            low, high = betting.band()
            assert low < 0.6 < high
            widths[n] = high - low
    assert widths[100] > 2 * widths[1000] > 4 * widths[10_000]
    assert widths[1000] < 0.14


def test_nothing_is_known_before_the_first_unit() -> None:
    assert Betting().band() == (0.0, 1.0)
    assert not Betting().surely_below(1.0)
    assert not Betting().surely_above(0.0)
