"""The spec's task fields: what is wrong is named with its line, its place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpusess.spec import load_spec
from gpusess.spec.models import order_for
from remote_agent.protocol import TaskSpec
from remote_agent.registry import EXTRACTORS, FAMILIES, METHODS, METRICS, STYLES, TASKS, load
from remote_agent.tasks.own import Own

from .saying import said_of

HEAD = "name: t\nresources: {provider: local}\nruns:\n  - name: a\n    model: org/m\n    task:\n"


def problems(folder: Path, *lines: str) -> list[str]:
    """What is said about a task with these lines; the first of them is line 7 of the file."""
    return said_of(folder, HEAD + "".join(f"      {line}\n" for line in lines))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("extractors: [hashs]", "8: runs[0].task.extractors[0]: found 'hashs'; allowed: acc, "),
        ("extractors: [hashes, hashs]", "8: runs[0].task.extractors[1]: found 'hashs'"),
        ("extractors: [hashes, tool_call]", "8: runs[0].task.extractors[1]: found 'tool_call', which reads no answer of the kind number; allowed: hashes, boxed, "),
        ("thinking: [a]", "8: runs[0].task.thinking: found a list; allowed: a list of two marks, or an empty one"),
        ("method: score", "8: runs[0].task.method: found 'score', which the task gsm8k does not have; allowed: generate"),
        ("method: scor", "8: runs[0].task.method: found 'scor'; allowed: auto, generate, score; did you mean 'score'?"),
        ("style: lm-eval", "8: runs[0].task.style: found 'lm-eval', which the task gsm8k does not have; allowed: default, lm_eval"),
        ("template: non", "8: runs[0].task.template: found 'non'; allowed: auto, chat, none; did you mean 'none'?"),
        ("fewshot: -1", "8: runs[0].task.fewshot: found '-1'; allowed: a whole number ≥ 0"),
        ("examples: gone.jsonl", "8: runs[0].task.examples: found 'gone.jsonl', which does not exist; allowed: a file or folder relative to the spec"),
        ("own: {prompt: x}", "8: runs[0].task.own: given for the task gsm8k; allowed: only with `name: own`"),
        ("stop: Question", "8: runs[0].task.stop: found 'Question'; allowed: a list"),
    ],
)  # fmt: skip
def test_a_wrong_field_of_a_task(tmp_path: Path, line: str, said: str) -> None:
    found = problems(tmp_path, "name: gsm8k", line)
    assert len(found) == 1
    assert found[0].startswith(said), found


def test_what_the_users_own_task_needs(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: own") == [
        "7: runs[0].task.name: found 'own' without `own`; allowed: both together",
        "7: runs[0].task.name: found 'own' without `path`; allowed: both together",
    ]
    (tmp_path / "rows.jsonl").write_text("{}")
    found = problems(tmp_path, "name: own", "path: rows.jsonl", "own: {answr: x, metric: numbr, choices: 3}")
    assert found == [
        "9: runs[0].task.own.answr: unknown key 'answr'; did you mean 'answer'? allowed: prompt, answer, choices, metric, instruction, line, tools, id, category",
        "9: runs[0].task.own.choices: found '3'; allowed: a list of at least one",
        "9: runs[0].task.own.metric: found 'numbr'; allowed: call, choice, contains, number, text; did you mean 'number'?",
        "9: runs[0].task.own.prompt: missing; allowed: text",
    ]
    assert problems(tmp_path, "name: own", "path: rows.jsonl", "own: {prompt: x, choices: options}") == []
    assert problems(tmp_path, "name: own", "path: rows.jsonl", "own: {prompt: x, choices: [a, b]}") == []


def test_data_may_be_a_folder_and_few_shots_are_sent(tmp_path: Path) -> None:
    (tmp_path / "mmlu").mkdir()
    (tmp_path / "dev.csv").write_text("question\n")
    assert problems(tmp_path, "name: mmlu", "path: mmlu", "examples: dev.csv", "fewshot: 5") == []
    (run,) = load_spec(tmp_path / "x.yaml").runs
    assert run.local_examples(tmp_path) == tmp_path / "dev.csv"
    order = order_for(run, "r", model="m", model_id="m", data_path="/d/mmlu", examples="/e/dev.csv")
    assert (order.task.path, order.task.examples, order.task.fewshot) == ("/d/mmlu", "/e/dev.csv", 5)


def test_rules_must_read_the_kind_of_answer_that_the_task_has(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("{}")
    own = ["name: own", "path: r.jsonl", "own: {prompt: x, metric: text}"]

    def said(*lines: str) -> str:
        return " ".join(problems(tmp_path, *lines))

    assert said("name: mmlu", "extractors: [acc_norm]") == ""
    assert "of the kind score; allowed: acc, acc_norm" in said("name: mmlu", "extractors: [boxed]")
    assert said("name: mmlu", "extractors: [boxed]", "method: generate") == ""
    assert "of the kind continuation; allowed: greedy" in said("name: arithmetic", "extractors: [acc]")
    assert said(*own, "extractors: [last_line]") == ""
    assert "of the kind text" in said(*own, "extractors: [last_number]")
    assert "of the kind continuation" in said(*own, "method: score", "extractors: [whole]")
    assert (
        said(
            "name: own", "path: r.jsonl", "own: {prompt: x, choices: c}", "method: score", "extractors: [acc]"
        )
        == ""
    )


def test_the_registry_says_what_the_tasks_can_do() -> None:
    assert set(METHODS) == set(TASKS)
    for name, path in TASKS.items():
        task = load(path)()
        assert task.name == name
        assert task.methods == METHODS[name]
        assert task.styles == STYLES.get(name, ("default",))
        if name in FAMILIES:
            spec = TaskSpec(name=name, method="generate")
            assert task.answer_format(spec).family == FAMILIES[name]
    for name, path in METRICS.items():
        assert tuple(load(path).rules) == EXTRACTORS[name]
    assert Own().methods[0] == "generate"
