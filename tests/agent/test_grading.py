"""From a completion to a grade, with what a chain of thought and a stored record need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.plan import make_plan
from remote_agent.protocol import ChoiceScore, Order, Result, TaskSpec
from remote_agent.registry import TASKS, load
from remote_agent.tasks import base, grading
from remote_agent.tasks.base import Sample
from remote_agent.tasks.gsm8k import Gsm8k

from .conftest import make_run

RECORDED = Path(__file__).with_name("recorded_outputs.jsonl")
MARKS = ("<think>", "</think>")
SPEC = TaskSpec(name="gsm8k")
EIGHTEEN = Sample("s", "q", "18")


@pytest.mark.parametrize(
    ("text", "left", "mark"),
    [
        ("#### 18", "#### 18", ()),
        ("<think>#### 7</think>#### 18", "#### 18", ("thinking cut out",)),
        ("#### 7</think>\n#### 18", "#### 18", ("thinking cut out",)),  # the template has opened it
        ("a<think>b</think>c<think>d</think>e", "a c e", ("thinking cut out",)),
        ("<think>a<think>b</think>c", "c", ("thinking cut out",)),
        ("<think>#### 7", "", ("thinking not closed",)),
        ("x <think>#### 7", "x", ("thinking not closed",)),
        ("</think>a</think>b", "a</think>b", ("thinking cut out",)),
    ],
)
def test_a_chain_of_thought_is_cut_out(text: str, left: str, mark: tuple[str, ...]) -> None:
    kept, marks = grading.without_thinking(text, MARKS)
    assert len(kept) == len(text)
    assert " ".join(kept.split()) == left
    assert marks == mark


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "\n"]), max_size=12))
def test_what_is_left_stands_where_it_stood(parts: list[str]) -> None:
    text = "".join(parts)
    kept, _ = grading.without_thinking(text, MARKS)
    assert len(kept) == len(text)
    assert all(k in (" ", t) for k, t in zip(kept, text, strict=True))


def test_the_answer_in_a_thought_is_not_the_answer() -> None:
    def grade(text: str, finish: str = "stop", **more: object) -> base.Grade:
        return Gsm8k().grade(EIGHTEEN, text, finish, SPEC.model_copy(update=more))

    read = grade("<think>so #### 7</think>\n#### 18")
    assert (read.verdict, read.marks, read.disagree) == ("right", ("thinking cut out",), False)
    assert read.span == (30, 32)
    assert grade("<think>#### 18", "length").reason == "truncated"
    assert (grade("<think>#### 18</think>").reason, grade("<think>#### 18").reason) == ("empty", "empty")
    assert grade("<think>#### 18", thinking=[]).verdict == "right"


def test_the_last_number_of_a_text_is_a_guess() -> None:
    def marks(text: str, **more: object) -> tuple[str, ...]:
        return Gsm8k().grade(EIGHTEEN, text, "stop", SPEC.model_copy(update=more)).marks

    assert marks("It cannot be 18") == ("guessed",)
    assert marks("#### 18") == ()
    assert marks("It cannot be 18", extractors=["last_number"]) == ()


def test_percent_rounding_and_other_doubts_are_marked() -> None:
    def grade(text: str, gold: str) -> base.Grade:
        return Gsm8k().grade(Sample("s", "q", gold), text, "stop", SPEC)

    assert grade("#### 50%", "50").verdict == "right"
    assert (grade("#### 50%", "0.5").verdict, grade("#### 50%", "0.5").marks) == ("right", ("percent",))
    assert grade("#### 0.5", "50%").verdict == "wrong"
    assert (grade("#### 3.33", "10/3").verdict, grade("#### 3.33", "10/3").marks) == ("wrong", ("rounded",))
    assert (grade("#### 18,5", "18.5").verdict, grade("#### 18,5", "18.5").marks) == (
        "right",
        ("decimal comma",),
    )
    assert grade("#### 18,500", "18500").marks == ()
    assert grade("#### 7,13,19", "19").marks == ("list of numbers",)
    assert grade("#### 4. Then stop", "4").marks == ("numbered",)
    for part in ("2^10", "\\sqrt{16}", "√16", "5 dozen", "1.234.567"):
        assert "part of more" in grade(f"#### {part}", "1").marks, part
    assert grade("#### 5 hundred", "500").verdict == "right"


def stored(task: str, sample: Sample, completion: str, finish: str, spec: TaskSpec) -> dict[str, object]:
    """A result record as it comes out of a journal."""
    grade = load(TASKS[task])().grade(sample, completion, finish, spec)
    result = Result(
        **base.result_fields(sample, grade), task=task, completion=completion, prompt_sha="x",
        tokens_in=1, tokens_out=1, finish=finish, seconds=0.0,
    )  # fmt: skip
    record: dict[str, object] = json.loads(result.model_dump_json())
    return record


def test_every_recorded_output_is_graded_again_from_its_record_alone() -> None:
    rows = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    tasks = {"word_problems": "word_problems", "function_calling": "function_calling", "choice": "aqua"}
    verdicts = set()
    tools = {
        s.id: dict(s.data)
        for s in load(TASKS["function_calling"])().load(TaskSpec(name="function_calling")).samples
    }
    for row in rows:
        name = tasks[row["task"]]
        spec = TaskSpec(name=name)
        data = tools[row["sample"]] if name == "function_calling" else {}
        sample = Sample(row["sample"], "q", row["gold"], "c", tuple(row["choices"]), data)
        record = stored(name, sample, row["completion"], row["finish"], spec)
        again = grading.regrade(record, spec)
        assert {**record, **base.result_fields(sample, again), "span": record["span"]} == record
        assert again.span == (None if record["span"] is None else tuple(record["span"]))  # type: ignore[arg-type]
        verdicts.add((name, again.verdict))
        # `read` and `verdict` of the file are what a person read there.
        assert (again.extracted, again.verdict) == (row["read"], row["verdict"]), row["sample"]
        # What decides may change, and with it the verdict; what each rule reads may not.
        other = grading.regrade(record, spec.model_copy(update={"extractors": ["json"]}))
        assert other.readings == again.readings
    assert {
        ("word_problems", "right"),
        ("word_problems", "wrong"),
        ("aqua", "wrong"),
        ("function_calling", "wrong"),
    } <= verdicts


def test_scores_are_judged_again_from_the_record() -> None:
    scores = [ChoiceScore(logprob=p, tokens=1, chars=n, bytes=n) for p, n in ((-2.0, 1), (-7.0, 7))]
    spec = TaskSpec(name="hellaswag")
    sample = Sample("s", "q", "B", choices=("a", "bcdefgh"))
    grade = load(TASKS["hellaswag"])().judge(sample, scores, spec)
    record = Result(
        **base.result_fields(sample, grade), task="hellaswag", method="score", scores=scores, completion="",
        prompt_sha="x", tokens_in=1, tokens_out=2, finish="stop", seconds=0.0,
    ).model_dump(mode="json")  # fmt: skip
    assert grading.regrade(record, spec) == grade
    flipped = grading.regrade(record, spec.model_copy(update={"extractors": ["acc"]}))
    assert (grade.verdict, flipped.verdict) == ("right", "wrong")


def test_a_rule_that_the_task_has_not_is_refused() -> None:
    old = {"sample": "a", "gold": "18", "completion": "#### 18", "finish": "stop"}
    with pytest.raises(base.DataError, match="gsm8k has no rule `acc`; allowed: hashes, boxed"):
        grading.regrade(old, SPEC.model_copy(update={"extractors": ["acc"]}))


def test_records_of_older_journals_are_graded() -> None:
    old = {"task": "gsm8k", "sample": "a", "gold": "18", "completion": "#### 18", "finish": "stop"}
    assert grading.regrade(old, SPEC).verdict == "right"


def test_all_that_decides_what_results_mean_is_in_the_plans_hash(tmp_path: Path) -> None:
    order = make_run(tmp_path / "r").order

    def sha(order: Order) -> str:
        task = load(TASKS[order.task.name])()
        return make_plan(order, task, task.load(order.task)).sha

    changes = [
        {"extractors": ["boxed"]}, {"stop": ["\n"]}, {"fewshot": 1}, {"template": "none"}, {"thinking": []},
        {"system": "x"}, {"thought": "x"},
    ]  # fmt: skip
    hashes = [
        sha(order),
        *(sha(order.model_copy(update={"task": order.task.model_copy(update=c)})) for c in changes),
    ]
    assert len(set(hashes)) == len(hashes)
    kept = order.task.model_copy(update={"keep_prompts": True})
    assert sha(order.model_copy(update={"task": kept})) == hashes[0]
