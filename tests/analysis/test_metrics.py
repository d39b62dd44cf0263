"""What metrics mean: shares, and quotients that are taken over a whole run."""

from __future__ import annotations

from array import array
from math import exp, log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusess.analysis.metrics import is_share, of_the_corpus, quotient


def columns(**values: list[float]) -> dict[str, array[float]]:
    return {name: array("d", column) for name, column in values.items()}


def test_perplexity_is_taken_over_the_corpus() -> None:
    found = of_the_corpus(columns(nll=[6.0, 0.0, nan], tokens=[3.0, 1.0, nan], bytes=[12.0, 4.0, nan]))
    assert found["perplexity"].value == pytest.approx(exp(6 / 4))  # the mean of quotients would be e**1
    assert found["bits_per_byte"].value == pytest.approx(6 / 16 / log(2))
    assert found["perplexity"].n == 2
    assert found["perplexity"].low <= found["perplexity"].value <= found["perplexity"].high


def test_a_run_without_scored_texts_has_none() -> None:
    assert of_the_corpus(columns(acc=[1.0])) == {}
    assert of_the_corpus(columns(nll=[nan], tokens=[nan], bytes=[nan])) == {}


def test_a_hopeless_text_is_a_large_number_and_no_error() -> None:
    found = of_the_corpus(columns(nll=[1e6], tokens=[1.0], bytes=[1.0]))
    assert found["perplexity"].value == pytest.approx(exp(700.0))


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), min_size=2, max_size=20))
def test_an_interval_holds_its_quotient(rows: list[tuple[float, int]]) -> None:
    found = quotient([a for a, _ in rows], [float(b) for _, b in rows])
    assert 0.0 <= found.low <= found.value <= found.high


def test_the_interval_is_the_means_where_all_texts_are_of_one_length() -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    found = quotient(values, [1.0] * 4)
    spread = (sum((v - 3.5) ** 2 for v in values) / 3) ** 0.5
    assert found.high - found.value == pytest.approx(1.96 * spread / 2, rel=1e-3)


@pytest.mark.parametrize(("name", "values", "share"), [
    ("args_f1", (0.2, 0.9), True), ("acc_norm", (0.0, 1.0), True), ("nll_byte", (0.2, 0.9), False),
    ("cost", (0.0, 0.001), False), ("reward", (0.5, 1.5), False),
])  # fmt: skip
def test_what_is_shown_in_percent(name: str, values: tuple[float, ...], share: bool) -> None:
    assert is_share(name, *values) is share
