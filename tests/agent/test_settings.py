"""What a run records of its settings: equal for equal questions, and different where the numbers would be."""

from __future__ import annotations

from typing import Any

import pytest

from remote_agent.engines.recorded import RecordedEngine
from remote_agent.protocol import GenerateSpec, TaskSpec
from remote_agent.settings import missing_template, recorded_order, settings
from remote_agent.tasks.word_problems import WordProblems

from .conftest import Run


def told(run: Run, task: dict[str, Any] | None = None, **order: Any) -> dict[str, str]:
    spec = TaskSpec(name="word_problems", **{"limit": 8, **(task or {})})
    changed = run.order.model_copy(update={"task": spec, **order})
    family = WordProblems()
    return settings(changed, family, family.load(spec), RecordedEngine(changed))


def differs(run: Run, task: dict[str, Any] | None = None, **order: Any) -> set[str]:
    before, after = told(run), told(run, task, **order)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("task", "order", "names"),
    [
        ({}, {}, set()),
        ({"system": "Be brief."}, {}, {"system prompt"}),
        ({"fewshot": 1}, {}, {"few-shots"}),
        ({"limit": 4}, {}, {"samples"}),
        ({"extractors": ["boxed"]}, {}, {"extractor"}),
        ({"stop": ["Q:"]}, {}, {"stop texts"}),
        ({}, {"generate": GenerateSpec(max_tokens=64, temperature=0.7, top_p=0.9)}, {"sampling"}),
        ({}, {"generate": GenerateSpec(max_tokens=64, candidates=4)}, {"answers a sample"}),
        ({}, {"generate": GenerateSpec(max_tokens=99)}, {"most tokens"}),
    ],
)
def test_what_is_changed_is_what_differs(
    run: Run, task: dict[str, Any], order: dict[str, Any], names: set[str]
) -> None:
    assert differs(run, task, **order) == names


def test_what_decides_nothing_is_not_a_setting(run: Run) -> None:
    engine = run.order.engine.model_copy(update={"batch_size": 1, "threads": 1, "pace": 1.0})
    assert differs(run, engine=engine) == set()


def test_long_texts_are_cut_and_told_apart_by_their_hash(run: Run) -> None:
    one, other = (told(run, {"system": "long " * 200 + end})["system prompt"] for end in ("a", "b"))
    assert one != other
    assert len(one) < 260


def test_the_recorded_order_is_what_grading_again_needs(run: Run) -> None:
    found = recorded_order(run.order)
    assert TaskSpec.model_validate(found["task"]) == run.order.task
    assert set(found) == {"task", "engine", "generate", "force"}


def test_a_chat_model_without_its_template_is_a_cause_that_is_known(run: Run) -> None:
    class WithTemplate:
        tokenizer = type("T", (), {"chat_template": "{{ messages }}"})()

    plain = run.order.model_copy(update={"task": TaskSpec(name="word_problems", template="none")})
    assert missing_template(WordProblems(), plain, WithTemplate()) == [  # type: ignore[arg-type]
        "the prompts go through no chat template, though the model has one"
    ]
    assert missing_template(WordProblems(), run.order, WithTemplate()) == []  # type: ignore[arg-type]
