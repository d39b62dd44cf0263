"""Best of N: against brute force, and the order in which the numbers must stand."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusess.analysis.answers import Answers, SampleIndex
from gpusess.analysis.best_of import best_of, pass_at_k, vote
from gpusess.analysis.result_building import FrameBuilder
from remote_agent.journal import encode


def take(answers: Answers, records: list[dict[str, Any]]) -> None:
    builder = FrameBuilder()
    builder.take([encode(record, seq, float(seq))[:-1] for seq, record in enumerate(records)])
    answers.take(builder.frame(0)[0])


def scored(sample: str, candidate: int, reranker: str, score: float) -> dict[str, Any]:
    return {"kind": "scored", "sample": sample, "candidate": candidate, "reranker": reranker, "score": score}


def answers_of(samples: list[list[bool]], scores: dict[str, list[list[float]]] | None = None) -> Answers:
    """A run with one list of verdicts a sample; wrong answers all read differently."""
    answers = Answers(SampleIndex())
    answers.several = True
    take(answers, [
        {
            "kind": "result", "sample": f"s{i}", "candidate": c, "verdict": "right" if right else "wrong",
            "reason": "parsed", "extracted": "7" if right else f"{c} wrong", "rule": "hashes", "gold": "7",
        }
        for i, sample in enumerate(samples)
        for c, right in enumerate(sample)
    ])  # fmt: skip
    for name, rows in (scores or {}).items():
        take(
            answers,
            [scored(f"s{i}", c, name, score) for i, row in enumerate(rows) for c, score in enumerate(row)],
        )
    return answers


@given(st.integers(1, 10).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(case: tuple[int, int, int]) -> None:
    n, right, k = case
    subsets = list(combinations(range(n), k))
    share = sum(any(i < right for i in subset) for subset in subsets) / len(subsets)
    assert pass_at_k(n, right, k) == pytest.approx(share)


SAMPLES = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=25)
)


@given(SAMPLES, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_no_pick_is_better_than_the_oracle(samples: list[list[bool]], rng: object) -> None:
    scores = {"r": [[rng.random() for _ in sample] for sample in samples]}  # type: ignore[attr-defined]
    found = best_of(answers_of(samples, scores))
    assert found is not None
    k = len(samples[0])
    assert found.pass_at[1].value == pytest.approx(found.mean.value)
    assert found.pass_at[k].value == pytest.approx(found.oracle.value)
    values = [estimate.value for estimate in found.pass_at.values()]
    assert values == sorted(values)
    (reranked,) = found.reranked
    for estimate in (found.mean, found.majority, found.oracle, reranked.accuracy):
        assert estimate.value <= found.oracle.value + 1e-9
        assert 0.0 <= estimate.low <= estimate.value + 1e-9
        assert estimate.value <= estimate.high + 1e-9


def test_a_perfect_and_a_blind_reranker() -> None:
    samples = [[True, False, False, False], [False, True, False, False], [False] * 4] * 40
    perfect = [[float(right) for right in sample] for sample in samples]
    found = best_of(answers_of(samples, {"perfect": perfect, "blind": [[1.0] * 4] * 120}))
    assert found is not None
    by_name = {row.name: row for row in found.reranked}
    assert (by_name["perfect"].baseline, by_name["perfect"].oracle) == (
        pytest.approx(1 / 6),
        pytest.approx(2 / 3),
    )
    assert by_name["perfect"].closed is not None
    assert by_name["perfect"].closed.value == pytest.approx(1.0)
    # Ties are broken by chance: a blind reranker is the baseline.
    assert by_name["blind"].accuracy.value == pytest.approx(found.mean.value)
    assert by_name["blind"].closed is not None
    assert by_name["blind"].closed.value == pytest.approx(0.0)


def test_samples_that_are_not_wholly_scored_are_left_out_of_that_reranker() -> None:
    answers = answers_of([[True, False], [False, True]])
    take(answers, [scored("s0", c, "r", float(c)) for c in (0, 1)])
    take(answers, [scored("s1", 0, "r", 1.0)])
    found = best_of(answers)
    assert found is not None
    (row,) = found.reranked
    assert (row.samples, row.accuracy.value, row.baseline) == (1, 0.0, 0.5)


def test_samples_with_too_few_answers_are_left_out() -> None:
    found = best_of(answers_of([[True, False, True], [True]]))
    assert found is not None
    assert (found.samples, found.candidates, found.left_out) == (1, 3, 1)


def test_one_answer_a_sample_has_no_best() -> None:
    assert best_of(answers_of([[True], [False]])) is None


@pytest.mark.parametrize(
    ("read", "share"),
    [
        ([("18", True), ("18", True), ("17", False)], 1.0),
        ([("18", True), ("17", False)], 0.5),
        ([("18", True), ("$18.00", True), ("17", False), ("17", False)], 0.5),
        ([("18", True), ("17", False), ("17.0", False)], 0.0),
        ([("a", False), ("A", False), ("b", True)], 0.0),
        ([(None, False), (None, False), ("18", True)], 1.0),
        ([(None, False)], 0.0),
    ],
)
def test_votes(read: list[tuple[str | None, bool]], share: float) -> None:
    assert vote([(i, right, text) for i, (text, right) in enumerate(read)]) == share
