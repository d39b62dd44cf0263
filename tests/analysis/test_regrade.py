"""Grading again: nothing flips by itself, and what flips says why."""

from __future__ import annotations

from typing import Any

import pytest

from gpusess.analysis.regrade import regrade, task_spec
from remote_agent import protocol
from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import Sample, result_fields
from remote_agent.tasks.word_problems import WordProblems

COMPLETIONS = [
    ("so\n#### 18", "18"),
    ("\\boxed{18} but\n#### 17", "18"),
    ("the answer is 18", "18"),
    ("18 or 19", "18"),
    ("nothing", "18"),
    ("", "18"),
]
PLANNED = {"task": "word_problems", "headline": "hashes"}


def recorded(spec: TaskSpec | None = None) -> list[dict[str, Any]]:
    """Results as the worker writes them."""
    task, spec = WordProblems(), spec or TaskSpec(name="word_problems")
    rows = []
    for number, (completion, gold) in enumerate(COMPLETIONS):
        sample = Sample(f"s{number}", "?", gold)
        grade = task.grade(sample, completion, "stop", spec)
        fields = result_fields(sample, grade)
        result = protocol.Result(
            **fields, task=task.name, completion=completion, prompt_sha="p", tokens_in=1, tokens_out=1,
            finish="stop", seconds=0.1,
        )  # fmt: skip
        rows.append(protocol.payload(result))
    return rows


def test_the_same_grader_flips_nothing() -> None:
    found, rows = regrade(recorded(), task_spec(PLANNED, [], None))
    assert (found.total, found.same, found.flips) == (len(COMPLETIONS), len(COMPLETIONS), [])
    assert [row["before"] for row in rows] == [None] * len(COMPLETIONS)


def test_another_headline_shows_which_verdicts_flip_and_why() -> None:
    found, rows = regrade(recorded(), task_spec(PLANNED, [], "boxed"))
    (flip,) = found.flips
    assert (flip.sample, flip.before.verdict, flip.after.verdict) == ("s1", "wrong", "right")
    assert flip.why == "'17' by hashes before, '18' by boxed now"
    assert found.moves == {("wrong", "right"): 1}
    assert found.paired is not None
    assert (found.paired.gained, found.paired.lost) == (1, 0)
    assert rows[1]["before"] == "wrong"


def test_fewer_rules_leave_answers_unread() -> None:
    found, _ = regrade(recorded(), task_spec(PLANNED, ["hashes"], None))
    assert found.moves[("right", "unparsed")] == 1
    assert {flip.after.reason for flip in found.flips} == {"unparsed"}


def test_the_verdicts_of_a_recorded_spec_are_those_of_the_run() -> None:
    spec = TaskSpec(name="word_problems", extractors=["boxed", "last_number"])
    planned = {**PLANNED, "order": {"task": spec.model_dump(mode="json")}}
    found, _ = regrade(recorded(spec), task_spec(planned, [], None))
    assert found.flips == []


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no rule 'boxd' for its answers; rules: hashes, boxed"):
        task_spec(PLANNED, ["boxd"], None)


def test_the_same_reading_by_another_rule_is_no_other_reading() -> None:
    found, _ = regrade(recorded(), task_spec(PLANNED, ["last_number"], None))
    assert found.other_rule > 0
    assert found.same + found.reread + found.other_rule + len(found.flips) == found.total


@pytest.mark.parametrize("task", ["hellaswag", "continuation", "arithmetic"])
def test_what_was_scored_is_judged_again_from_its_scores(task: str) -> None:
    given = [{"logprob": -2.0, "tokens": 1, "chars": 1, "bytes": 1, "greedy": True}]
    choices = given if task != "hellaswag" else [*given, {**given[0], "logprob": -7.0, "chars": 7}]
    result = {
        "task": task, "sample": "s", "candidate": 0, "method": "score", "gold": "A", "choices": [], "scores": choices,
        "completion": "", "finish": "stop", "verdict": "right", "reason": "parsed", "extracted": "x", "rule": "x",
    }  # fmt: skip
    spec = task_spec({"task": task}, [], None)
    found, rows = regrade([result], spec)
    assert (found.total, len(rows)) == (1, 1)
    assert len(found.flips) == (task == "hellaswag")  # by its characters the longer one is the likelier
