"""The answer format as a contract between prompt, few-shots, rule and training."""

from __future__ import annotations

import dataclasses

import pytest

from remote_agent.protocol import TaskSpec
from remote_agent.registry import TASKS, load
from remote_agent.tasks import contract
from remote_agent.tasks.base import AnswerFormat, DataError, Example, Sample
from remote_agent.tasks.word_problems import WordProblems

SPEC = TaskSpec(name="word_problems")


class Stated(WordProblems):
    """Word problems with another answer format."""

    def __init__(self, format: AnswerFormat) -> None:
        self._format = format

    def asks_for(self, spec: TaskSpec) -> AnswerFormat:
        return self._format


GOOD = AnswerFormat("End with a line #### N.", "#### {}", ("hashes", "last_number"))


def breaches(format: AnswerFormat, spec: TaskSpec = SPEC, **kwargs: list[str]) -> str:
    return " / ".join(contract.breaches(Stated(format), spec, **kwargs))


def test_what_fits_is_no_breach() -> None:
    assert breaches(GOOD) == ""
    assert breaches(GOOD, trained=["so\n#### 7", "so\n#### 8"]) == ""


@pytest.mark.parametrize(
    ("format", "said"),
    [
        (
            AnswerFormat("End with a line #### N.", "#### {}", ("boxed", "last_number")),
            "the prompt asks for `#### N`, and the rule `boxed` reads nothing there; `hashes` reads it",
        ),
        (AnswerFormat("Give the answer.", "#### {}", ("hashes",)), "asks for no `####`"),
        (AnswerFormat("Give \\boxed{N}.", "#### {}", ("hashes",)), "asks for no `####`"),
        (dataclasses.replace(GOOD, examples=(Example("q", "#### 8", "9"),)), "reads '8' instead of 9"),
        (
            dataclasses.replace(GOOD, examples=(Example("q", "It is \\boxed{9}", "9"),)),
            "reads nothing instead of 9",
        ),
        (dataclasses.replace(GOOD, rules=("hashs",)), "`hashs` does not read answers of the kind number"),
    ],
)
def test_a_breach_is_named(format: AnswerFormat, said: str) -> None:
    assert any(part in breaches(format) for part in said.split("|")), breaches(format)


def test_a_rule_that_judges_no_scores() -> None:
    spec = TaskSpec(name="hellaswag", extractors=["hashes"])
    assert (
        "allowed: acc, acc_norm, acc_bytes, acc_tokens"
        in contract.breaches(load(TASKS["hellaswag"])(), spec)[0]
    )


def test_a_rule_that_needs_the_choices_gets_some() -> None:
    spec = TaskSpec(name="aqua", extractors=["lm_eval_multi_choice"])
    assert contract.breaches(load(TASKS["aqua"])(), spec) == []
    first = spec.model_copy(update={"extractors": ["lm_eval_first_line"]})
    assert (
        "reads 'Answer: B' there; `answer_is` reads it" in contract.breaches(load(TASKS["aqua"])(), first)[0]
    )


def test_a_system_prompt_that_asks_for_another_format() -> None:
    spec = SPEC.model_copy(update={"system": "Put the answer into \\boxed{}."})
    assert "the system prompt asks for `\\boxed`, and the rule `hashes` reads `####`" in breaches(GOOD, spec)


def test_a_model_that_was_trained_on_another_format() -> None:
    said = breaches(GOOD, trained=[f"so \\boxed{{{n}}}" for n in range(9)])
    assert "reads 0 of 9 answers that the model was trained on; most of them are read by `boxed`" in said


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_keeps_its_own_contract(name: str) -> None:
    task = load(TASKS[name])()
    for method in task.methods:
        for style in task.styles:
            spec = TaskSpec(name=name, method=method, style=style)
            try:
                assert contract.breaches(task, spec) == [], (method, style)
            except DataError as exc:
                assert "own" in str(exc)  # noqa: PT017  the user's own task has no format without `own`
    assert task.licence
    assert task.source
    assert task.metric
    assert task.dataset
    assert Sample("s", "q", "1").choices == ()
