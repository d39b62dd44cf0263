"""The dry batch: the longest prompts through the model once, and what a model may do with them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import Any

import pytest

from remote_agent import preflight
from remote_agent.engines.base import BatchEngine, EngineBroken, Score, ScoreRequest
from remote_agent.preflight import Prompts
from remote_agent.tasks.base import Sample

PROMPTS = Prompts(
    [Sample(f"s{i}", "q", "1") for i in range(9)],
    [f"prompt {i}" for i in range(9)],
    [5, 90, 7, 80, 9, 70, 3, 60, 1],
)


class Scores(BatchEngine):
    """Scores everything alike, or raises."""

    can_score = True

    def __init__(self, answer: float | Exception) -> None:
        self._answer = answer
        self.asked: list[str] = []

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[Score]]:
        self.asked = [request.sample for request in requests]
        if isinstance(self._answer, Exception):
            raise self._answer
        return [[Score(self._answer, 1, False)] for _ in requests]


def tried(engine: Any) -> Any:
    (found,) = preflight.dry_batch(engine, PROMPTS)
    return found


def test_the_longest_prompts_go_first() -> None:
    engine = Scores(-3.0)
    found = tried(engine)
    assert found.status == "ok"
    assert "The 4 longest prompts (300 tokens)" in found.message
    assert engine.asked == ["s1", "s3", "s5", "s7"]


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite_ends_the_run(value: float) -> None:
    found = tried(Scores(value))
    assert found.status == "fail"
    assert "no finite probability after s1" in found.message
    assert "another dtype" in found.message


def test_what_does_not_fit_ends_the_run() -> None:
    found = tried(Scores(RuntimeError("out of memory for a single prompt\nmore")))
    assert found.status == "fail"
    assert "fails for its longest prompts (out of memory for a single prompt)" in found.message


def test_a_broken_gpu_is_the_supervisors_business() -> None:
    with pytest.raises(EngineBroken):
        tried(Scores(EngineBroken("CUDA error")))


def test_an_engine_that_cannot_score_is_not_tried() -> None:
    assert list(preflight.dry_batch(BatchEngine(), PROMPTS)) == []  # type: ignore[arg-type]
