"""The Wilson interval against published values and against what must hold for all inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusess.analysis.intervals import wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # R's binom::binom.confint(method = "wilson") prints these.
    [
        (8, 10, 0.4901625, 0.9433178),
        (0, 10, 0.0, 0.2775328),
        (10, 10, 0.7224672, 1.0),
        (62, 100, 0.5220976, 0.7090048),
    ],
)
def test_known_values(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=2e-5)


def test_nothing_is_known_without_results() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_it_holds_the_proportion_and_stays_in_bounds(case: tuple[int, int]) -> None:
    right, n = case
    low, high = wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1
    assert low < high


@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_more_of_the_same_is_narrower(case: tuple[int, int]) -> None:
    right, n = case
    low, high = wilson(right, n)
    low4, high4 = wilson(4 * right, 4 * n)
    assert high4 - low4 < high - low
