"""Tasks whose choices are scored: their prompts, their data, and the judging of log-likelihoods."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.protocol import ChoiceScore, TaskSpec
from remote_agent.registry import TASKS, load
from remote_agent.tasks import base, generate_arithmetic, generate_calls, grading, mathqa
from remote_agent.tasks.base import AnswerFormat, DataError, Sample, Task

SHARED = Path(os.environ.get("GPUSESS_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data"


def task_of(name: str) -> Task:
    return load(TASKS[name])()


def written(tmp_path: Path, *rows: dict[str, Any], name: str = "rows.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def asked(name: str, path: str, **more: Any) -> tuple[Any, tuple[str, ...], Sample]:
    spec = TaskSpec(name=name, path=path, **more)
    task = task_of(name)
    sample = task.load(spec).samples[0]
    scored = base.method_of(task, spec) == "score"
    return task.context(sample, spec), task.continuations(sample, spec) if scored else (), sample


HELLASWAG = {
    "activity_label": "Roofs", "ctx_a": "A man [substeps] climbs.  He", "ctx_b": "then", "label": "1",
    "endings": ["sits [title] down.", " waves.", "a", "b"],
}  # fmt: skip


def test_hellaswag_is_cleaned_as_its_usual_prompt_is(tmp_path: Path) -> None:
    context, continuations, sample = asked("hellaswag", written(tmp_path, HELLASWAG))
    assert context == "Roofs: A man climbs. He Then"
    assert continuations == (" sits. down.", " waves.", " a", " b")
    assert (sample.gold, sample.id) == ("B", "validation-0000")


def test_under_a_chat_template_no_blank_stands_before_a_choice(tmp_path: Path) -> None:
    context, continuations, _ = asked(
        "hellaswag", written(tmp_path, HELLASWAG), template="chat", system="Go on."
    )
    assert [turn["role"] for turn in context] == ["system", "user"]
    assert continuations == ("sits. down.", "waves.", "a", "b")


def test_both_forms_of_arc(tmp_path: Path) -> None:
    local = {"query": "Question: What is hot?", "choices": ["fire", "ice"], "gold": 0}
    hub = {
        "id": "M1",
        "question": "What is hot?",
        "choices": {"text": ["ice", "fire"], "label": ["1", "2"]},
        "answerKey": "2",
    }
    assert asked("arc_easy", written(tmp_path, local))[:2] == (
        "Question: What is hot?\nAnswer:",
        (" fire", " ice"),
    )
    context, continuations, sample = asked("arc_challenge", written(tmp_path, hub))
    assert (context, continuations) == ("Question: What is hot?\nAnswer:", (" ice", " fire"))
    assert (sample.id, sample.gold) == ("M1", "B")
    generated, _, _ = asked("arc_easy", written(tmp_path, local), method="generate")
    assert generated[0]["content"].startswith("What is hot?\n\nA. fire\nB. ice\n\n")


def test_mmlu_by_subject_with_few_shots_of_it(tmp_path: Path) -> None:
    header = "question,choice0,choice1,choice2,choice3,answer\n"
    for part in ("test", "dev"):
        (tmp_path / "mmlu" / part).mkdir(parents=True)
    (tmp_path / "mmlu/test/high_school_biology_test.csv").write_text(
        header + '" What, if any, lives?",a,b,c,d,3\n'
    )
    (tmp_path / "mmlu/dev/high_school_biology_dev.csv").write_text(header + "Shot?,e,f,g,h,0\n")
    (tmp_path / "mmlu/dev/anatomy_dev.csv").write_text(header + "Other?,e,f,g,h,0\n")
    folder = str(tmp_path / "mmlu")
    context, continuations, sample = asked("mmlu", folder, examples=folder + "/dev", fewshot=1)
    assert context == (
        "The following are multiple choice questions (with answers) about high school biology.\n\n"
        "Shot?\nA. e\nB. f\nC. g\nD. h\nAnswer: A\n\n"
        "What, if any, lives?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    )
    assert continuations == (" A", " B", " C", " D")
    assert (sample.id, sample.category, sample.gold) == (
        "high_school_biology-0000",
        "high_school_biology",
        "D",
    )
    spec = TaskSpec(name="mmlu", path=folder, method="generate", style="letter")
    assert task_of("mmlu").stops(spec) == ("\n",)
    assert task_of("mmlu").grade(sample, "D", "stop", spec).verdict == "right"


def test_aqua_and_its_worked_examples(tmp_path: Path) -> None:
    row = {"question": "Half of 8?", "options": ["A)4", "B)2"], "correct": "A", "rationale": "8 / 2 = 4"}
    other = {
        **row,
        "question": "Half of 6?",
        "options": ["A)2", "B) 3"],
        "correct": "B",
        "rationale": "6 / 2 = 3",
    }
    context, _, sample = asked(
        "aqua", written(tmp_path, row), examples=written(tmp_path, other, name="s.jsonl"), fewshot=1
    )
    assert [turn["content"] for turn in context][1] == "6 / 2 = 3\nAnswer: B"
    assert (sample.choices, sample.gold) == (("4", "2"), "A")
    with pytest.raises(DataError, match=r"line 1: the option 'B\)2' does not begin with `A\)`"):
        asked("aqua", written(tmp_path, {**row, "options": ["B)2", "A)4"]}))


def test_gsm8k_as_the_other_harness_asks_it(tmp_path: Path) -> None:
    row = {"question": "1+1?", "answer": "1+1=<<1+1=2>>2\n#### 2"}
    shots = written(tmp_path, *({**row, "question": f"{n}?"} for n in range(6)), name="s.jsonl")
    spec: dict[str, Any] = {"style": "lm_eval", "examples": shots, "template": "none"}
    context, _, _ = asked("gsm8k", written(tmp_path, row), **spec)
    assert context.startswith("Question: 0?\nAnswer: 1+1=<<1+1=2>>2\n#### 2\n\nQuestion: 1?")
    assert context.endswith("#### 2\n\nQuestion: 1+1?\nAnswer:")
    assert context.count("Question:") == 6
    assert task_of("gsm8k").stops(TaskSpec(name="gsm8k", style="lm_eval", stop=["\n\n"]))[:2] == (
        "\n\n",
        "Question:",
    )
    ours, _, _ = asked("gsm8k", written(tmp_path, row), examples=shots, fewshot=1)
    assert ours[1]["content"] == "1+1=2\n#### 2"  # without the calculator's marks
    with pytest.raises(DataError, match="5 few-shots are wanted, and there are 0"):
        asked("gsm8k", written(tmp_path, row), style="lm_eval")


@pytest.mark.parametrize(
    ("text", "options", "repair"),
    [
        ("a ) 12 , b ) 16 , c ) 18 , d ) 24 , e ) 26", ("12", "16", "18", "24", "26"), ""),
        ("a ) 19 , 956.732 , b ) 1 , c ) 2 , d ) 3 , e ) none", ("19 , 956.732", "1", "2", "3", "none"), ""),
        ("a ) a ) 10 , b ) b ) 12 , c ) c ) 1 , d ) d ) 2 , e ) e ) 3", ("10", "12", "1", "2", "3"), "doubled labels"),
        ("a ) 10 , b ) b ) 12 , c ) c ) 1 , d ) 2 , e ) e ) 3", ("10", "12", "1", "2", "3"), "doubled labels"),
        ("['a ) 10', 'b ) 12.5', 'c ) 15', 'd ) 16', 'e ) none']", ("10", "12.5", "15", "16", "none"), "a list in quotes"),
        ("['a ) a ) 4 m', 'b ) b ) 6', 'c ) c ) 5', 'd ) d ) 8', 'e ) e ) 1']", ("4 m", "6", "5", "8", "1"), "a list in quotes and doubled labels"),
        ("a ) 1 , b ) 2 , d ) 3", (), ""),
        ("", (), ""),
    ],
)  # fmt: skip
def test_mathqas_options(text: str, options: tuple[str, ...], repair: str) -> None:
    assert mathqa.options(text) == (options, repair)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_the_real_data_sets_load() -> None:
    counts = {
        ("hellaswag", "hellaswag/val_reconstructed.jsonl"): 10042, ("arc_easy", "arc/arc_easy.jsonl"): 2376,
        ("arc_challenge", "arc/arc_challenge.jsonl"): 1172, ("mmlu", "mmlu"): 14042, ("aqua", "aqua/test.json"): 254,
        ("mathqa", "mathqa/test1000.jsonl"): 1000, ("svamp", "svamp/SVAMP.json"): 1000, ("gsm8k", "gsm8k/test.jsonl"): 1319,
        ("arithmetic", "arithmetic/simple_arithmetic_withspaces.jsonl"): 1000,
        ("continuation", "arithmetic/bigbench_simple_arithmetic.jsonl"): 60,
    }  # fmt: skip
    for (name, path), count in counts.items():
        loaded = task_of(name).load(TaskSpec(name=name, path=str(SHARED / path)))
        assert len(loaded.samples) == count, name
        if name == "mathqa":
            assert "37 rows have malformed options and were mended" in loaded.notes[0]
            assert sum("options_repaired" in s.data for s in loaded.samples) == 37
            assert not any(
                mark in text for s in loaded.samples for text in s.choices for mark in ("'", "]", " ) ")
            )


def score(logprob: float, text: str = "abcd", tokens: int = 1, greedy: bool = False) -> ChoiceScore:
    return ChoiceScore(
        logprob=logprob, tokens=tokens, chars=len(text), bytes=len(text.encode()), greedy=greedy
    )


def test_choices_are_weighed_in_four_ways() -> None:
    sample = Sample("s", "q", "B", choices=("a", "bcdefgh", "ééé"))
    scores = [score(-2.0, "a"), score(-7.0, "bcdefgh", 9), score(-3.5, "ééé", 2)]
    grade = task_of("hellaswag").judge(sample, scores, TaskSpec(name="hellaswag"))
    assert grade.readings == {"acc": "A", "acc_norm": "B", "acc_bytes": "C", "acc_tokens": "B"}
    assert grade.metrics == {"acc": 0, "acc_norm": 1, "acc_bytes": 0, "acc_tokens": 1}
    assert (grade.verdict, grade.rule, grade.extracted) == ("right", "acc_norm", "B")
    other = task_of("hellaswag").judge(sample, scores, TaskSpec(name="hellaswag", extractors=["acc"]))
    assert (other.verdict, other.rule) == ("wrong", "acc")


def test_a_tie_takes_the_first_and_is_marked() -> None:
    sample = Sample("s", "q", "A", choices=("w", "x"))
    format = AnswerFormat("", "", ("acc",), family="score")
    assert grading.judge(sample, [score(-1.0), score(-1.0)], format).marks == ("tie",)
    assert grading.judge(sample, [score(-1.0), score(-1.0)], format).extracted == "A"
    assert grading.judge(sample, [score(-1.0), score(-1.0005)], format).marks == ("tie",)
    assert grading.judge(sample, [score(-1.0), score(-1.1)], format).marks == ()


@given(st.lists(st.floats(-500, -0.1), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_the_likeliest_is_the_likeliest_in_any_order(logprobs: list[float], random: Any) -> None:
    format = AnswerFormat("", "", ("acc",), family="score")
    best = logprobs.index(max(logprobs))
    sample = Sample("s", "q", "ABCDEF"[best], choices=("x",) * len(logprobs))
    assert grading.judge(sample, [score(p) for p in logprobs], format).verdict == "right"


def test_a_continuation_has_a_likelihood_and_its_size(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"text": "The cat sat on the mat"}, {"context": "Two and", "continuation": " two is four"}
    )
    spec = TaskSpec(name="continuation", path=path)
    task = task_of("continuation")
    word, phrase = task.load(spec).samples
    assert (task.context(word, spec), task.continuations(word, spec)) == ("The cat sat on the", (" mat",))
    grade = task.judge(phrase, [score(-6.0, " two is four", 3, greedy=True)], spec)
    assert (grade.verdict, grade.metrics) == (
        "right",
        {"nll": 6.0, "nll_token": 2.0, "nll_byte": 0.5, "greedy": 1.0, "tokens": 3.0, "bytes": 12.0},
    )
    chat = spec.model_copy(update={"template": "chat"})
    assert task.continuations(word, chat) == ("mat",)


def test_a_thought_stands_before_what_is_scored(tmp_path: Path) -> None:
    path = written(tmp_path, {"context": "2 + 2 =", "continuation": " 4"})
    spec = TaskSpec(name="continuation", path=path, thought="Think first.")
    task = task_of("continuation")
    (sample,) = task.load(spec).samples
    assert task.context(sample, spec) == "2 + 2 =\n\nThink first.\n"
    assert task.context(sample, spec, "two twos ") == "2 + 2 =\n\nThink first.\ntwo twos\n\n2 + 2 ="
    chat = spec.model_copy(update={"template": "chat"})
    turns = task.context(sample, chat, "two twos")
    assert [(t["role"], t["content"]) for t in turns if isinstance(t, dict)] == [
        ("user", "2 + 2 =\n\nThink first."), ("assistant", "two twos"), ("user", "2 + 2 ="),
    ]  # fmt: skip


def test_arithmetic_is_scored_or_written() -> None:
    task = task_of("arithmetic")
    scored = TaskSpec(name="arithmetic", limit=3)
    sample = task.load(scored).samples[0]
    assert task.context(sample, scored) == sample.question
    assert task.continuations(sample, scored) == (sample.gold,)
    bare = TaskSpec(name="arithmetic", method="generate", style="bare", template="none")
    first = task.load(bare).samples[0]
    assert str(task.context(first, bare)).rstrip("\n") == first.question
    assert task.grade(first, f" {first.gold}\n1 + 1 = 2", "stop", bare).verdict == "right"
    assert task.messages(first, TaskSpec(name="arithmetic", method="generate"))[0]["content"].startswith(
        "What is 7 + 7?"
    )


@pytest.mark.parametrize(
    ("made", "name"), [(generate_arithmetic, "arithmetic"), (generate_calls, "function_calling")]
)
def test_what_ships_is_what_the_generators_make(made: Any, name: str) -> None:
    from importlib import resources

    assert resources.files("remote_agent.tasks").joinpath("data", f"{name}.jsonl").read_text() == made.jsonl()


def test_a_method_or_style_that_a_task_has_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gsm8k has no method `score`; allowed: generate"):
        base.method_of(task_of("gsm8k"), TaskSpec(name="gsm8k", method="score"))
    with pytest.raises(DataError, match="mmlu has no style `lm_eval`; allowed: default, letter"):
        task_of("mmlu").load(TaskSpec(name="mmlu", style="lm_eval"))
