"""A user's own task: a file of rows and a few lines of YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from remote_agent.protocol import TaskSpec
from remote_agent.tasks import contract
from remote_agent.tasks.base import DataError, Sample
from remote_agent.tasks.own import Own

TASK = Own()
CAPITALS = """
prompt: "{{question}}"
answer: capital
metric: text
instruction: "End with a line: Answer: NAME"
line: "Answer: {}"
"""
ROWS: list[dict[str, Any]] = [
    {"question": "What is the capital of France?", "capital": "Paris"},
    {"question": "What is the capital of Peru?", "capital": ["Lima", "City of Kings"]},
]


def spec_of(tmp_path: Path, own: str, rows: list[dict[str, Any]], **more: Any) -> TaskSpec:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TaskSpec(name="own", path=str(path), own=yaml.safe_load(own), **more)


def samples(spec: TaskSpec) -> tuple[Sample, ...]:
    return TASK.load(spec).samples


def test_a_text_with_several_right_answers(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, CAPITALS, ROWS, extractors=["answer_is", "last_line"])
    france, peru = samples(spec)
    assert TASK.messages(france, spec)[-1]["content"] == (
        "What is the capital of France?\n\nEnd with a line: Answer: NAME"
    )
    graded = TASK.grade(peru, "It is old.\nAnswer: the *City of Kings*.", "stop", spec)
    assert (graded.verdict, graded.rule, graded.metrics["exact"]) == ("right", "answer_is", 1.0)
    assert TASK.grade(peru, "Lima", "stop", spec).rule == "last_line"
    assert TASK.grade(france, "Answer: Lima", "stop", spec).verdict == "wrong"
    wordy = TASK.grade(france, "It is Paris, of course.", "stop", spec)
    assert (wordy.verdict, wordy.marks) == ("wrong", ("holds the right text",))
    loose = spec_of(
        tmp_path, CAPITALS.replace("metric: text", "metric: contains"), ROWS, extractors=["whole"]
    )
    wordy = TASK.grade(samples(loose)[1], "It is Lima, of course.", "stop", loose)
    assert (wordy.verdict, wordy.marks) == ("right", ())
    assert TASK.grade(france, "Parisian", "stop", loose).verdict == "wrong"
    assert contract.breaches(TASK, spec) == []


QUIZ = """
prompt: "{{stem}}\\n{{choices}}\\nAnswer:"
answer: key
choices: options
metric: choice
category: topic
"""
QUIZ_ROWS = [
    {"stem": "Which one flies?", "options": ["a cow", "a kite"], "key": "B", "topic": "air"},
    {"stem": "Which one swims?", "options": ["a pike", "a kite"], "key": 0, "topic": "water"},
    {"stem": "Which one is wet?", "options": ["sand", "rain"], "key": "rain", "topic": "water"},
]


def test_choices_generated_and_scored(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, QUIZ, QUIZ_ROWS)
    found = samples(spec)
    assert [s.gold for s in found] == ["B", "A", "B"]
    assert [s.category for s in found] == ["air", "water", "water"]
    assert TASK.messages(found[0], spec)[-1]["content"].endswith("A. a cow\nB. a kite\nAnswer:")
    assert TASK.grade(found[0], "The answer is (B).", "stop", spec).verdict == "right"
    scored = spec.model_copy(update={"method": "score"})
    assert TASK.context(found[0], scored) == "Which one flies?\nA. a cow\nB. a kite\nAnswer:"
    assert TASK.continuations(found[0], scored) == (" A", " B")


def test_choices_that_the_prompt_does_not_list_are_scored_by_their_text(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, QUIZ.replace("\\n{{choices}}", ""), QUIZ_ROWS, method="score")
    found = samples(spec)
    assert TASK.continuations(found[1], spec) == (" a pike", " a kite")
    assert TASK.answer_format(spec).rules[0] == "acc_norm"


def test_few_shots_come_from_a_second_file(tmp_path: Path) -> None:
    shots = tmp_path / "shots.jsonl"
    shots.write_text("".join(json.dumps(row) + "\n" for row in [QUIZ_ROWS[0], QUIZ_ROWS[2]]))
    spec = spec_of(tmp_path, QUIZ, QUIZ_ROWS[:2], examples=str(shots), fewshot=1, template="none")
    first, second = samples(spec)
    # A question is never its own few-shot.
    assert str(TASK.context(first, spec)).startswith("Which one is wet?\nA. sand\nB. rain\nAnswer: B\n\n")
    assert str(TASK.context(second, spec)).endswith("\n\nWhich one swims?\nA. a pike\nB. a kite\nAnswer:")
    with pytest.raises(DataError, match="2 few-shots are wanted, and there are 1 for row-1"):
        samples(spec.model_copy(update={"fewshot": 2}))


@pytest.mark.parametrize(
    ("own", "row", "said"),
    [
        (
            CAPITALS,
            {"question": "q"},
            "line 1: no text in `capital`. Each row needs one; this one has question.",
        ),
        (CAPITALS, {"q": "q", "capital": "x"}, "line 1: no text in `question`"),
        ("prompt: '{{q}}'", {"q": "q", "answer": "many"}, "line 1: the answer 'many' is not one number"),
        (
            QUIZ,
            {**QUIZ_ROWS[0], "key": "C"},
            "line 1: the answer 'C' is no choice; allowed: a letter from A to B",
        ),
        (QUIZ, {**QUIZ_ROWS[0], "key": 2}, "the answer '2' is no choice"),
        (
            QUIZ,
            {**QUIZ_ROWS[0], "options": ["1", "0"], "key": "1"},
            "the answer '1' may mean A or B. Give the letter.",
        ),
        (QUIZ, {**QUIZ_ROWS[0], "options": "none"}, "line 1: `options` is not JSON"),
        (QUIZ.replace("choices: options", ""), QUIZ_ROWS[0], "needs `own.choices`"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, own: str, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        samples(spec_of(tmp_path, own, [row]))
    assert said in str(caught.value)


def test_without_a_file_or_a_definition_it_says_so() -> None:
    with pytest.raises(DataError, match=r"needs `task\.own`"):
        TASK.load(TaskSpec(name="own", path="x"))
    with pytest.raises(DataError, match=r"needs `task\.path`"):
        TASK.load(TaskSpec(name="own", own={"prompt": "x"}))  # type: ignore[arg-type]


def test_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('question,a,b,right\n"Which, of these, is red?",blood,grass,blood\n')
    own = {
        "prompt": "{{question}}\n{{choices}}",
        "choices": ["a", "b"],
        "answer": "right",
        "metric": "choice",
    }
    spec = TaskSpec(name="own", path=str(path), own=own)  # type: ignore[arg-type]
    (sample,) = samples(spec)
    assert (sample.gold, sample.choices) == ("A", ("blood", "grass"))
    path.write_text("question,a\nx,y,z\n")
    with pytest.raises(DataError, match=r"rows\.csv, line 2: not as many fields"):
        samples(spec)
