"""The examples of tasks: the user's own one and function calls, with recorded answers and with the real model;
and what docs/evaluation.md shows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpusess.spec import parse_spec
from remote_agent.protocol import OwnSpec, TaskSpec
from remote_agent.registry import EXTRACTORS, METHODS, TASKS, load
from remote_agent.tasks import contract
from remote_agent.tasks.base import Sample

from .conftest import EXAMPLES, Bench

ROOT = EXAMPLES.parent
PAGE = (ROOT / "docs/evaluation.md").read_text()


def with_answers(bench: Bench, spec: dict[str, Any], run: str, answer: Any) -> list[Sample]:
    """Keep one run, with recorded answers in the model's place: `answer(sample, number)`."""
    for shipped in (*EXAMPLES.glob("*.jsonl"), *EXAMPLES.glob("*.csv")):
        shutil.copy(shipped, bench.folder)
    (kept,) = spec["runs"] = [entry for entry in spec["runs"] if entry["name"] == run]
    asked = dict(kept["task"])
    if "path" in asked:
        asked["path"] = str(bench.folder / asked["path"])
    samples = load(TASKS[asked["name"]])().load(TaskSpec(**asked)).samples
    rows = [
        {"prompt_sha": "none", "sample": s.id, "completion": answer(s, n), "tokens_in": 1, "tokens_out": 1, "finish": "stop"}
        for n, s in enumerate(samples)
    ]  # fmt: skip
    (bench.folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kept["engine"] = {"name": "recorded", "path": "answers.jsonl", "batch_size": 4}
    return list(samples)


def results(bench: Bench, facts: dict[str, Any]) -> list[dict[str, Any]]:
    lines = bench.gpusess("results", facts["id"], "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_the_users_own_task(bench: Bench) -> None:
    said = ["It is old.\nThe capital is {}.", "**{}**", "It is Atlantis.", "{}, I think", "..."]
    status, facts = bench.up(
        "own-task.yaml",
        lambda spec: with_answers(bench, spec, "written", lambda s, n: said[n % 5].format(s.gold)),
    )
    assert status == 0, facts
    (run,) = facts["runs"]
    assert (run["done"], run["right"], run["wrong"]) == (12, 8, 2)  # and two without an answer
    found = results(bench, facts)
    assert {r["rule"] for r in found} == {"whole", None}
    assert {r["category"] for r in found} == {"Europe", "Asia", "Africa", "South America", "North America"}
    assert all(r["metrics"]["contains"] == (r["verdict"] == "right") for r in found)


def test_function_calls(bench: Bench) -> None:
    def answer(sample: Sample, number: int) -> str:
        if number % 3 == 2:
            return "<tool_call>{oops</tool_call>"
        calls = json.loads(sample.gold)
        return (
            "".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)
            or "None of them fits."
        )

    status, facts = bench.up(
        "function_calling.yaml", lambda spec: with_answers(bench, spec, "context", answer)
    )
    assert status == 0, facts
    (run,) = facts["runs"]
    assert (run["done"], run["right"]) == (12, 8)
    assert {r["reason"] for r in results(bench, facts) if r["verdict"] != "right"} == {"unparsed"}


@pytest.mark.model
def test_both_runs_of_the_own_task_with_the_real_model(bench: Bench) -> None:
    for shipped in (*EXAMPLES.glob("*.jsonl"), *EXAMPLES.glob("*.csv")):
        shutil.copy(shipped, bench.folder)

    def adapt(spec: dict[str, Any]) -> None:
        for run in spec["runs"]:
            run["task"]["limit"] = 3

    status, facts = bench.up("own-task.yaml", adapt)
    assert status == 0, facts
    assert [run["done"] for run in facts["runs"]] == [3, 3]


# --- docs/evaluation.md ---------------------------------------------------------------------------------


def test_the_page_names_every_task_rule_and_key() -> None:
    for name in TASKS:
        assert re.search(rf"`{name}`", PAGE), name
        task = load(TASKS[name])()
        (row,) = re.findall(
            rf"^\| [^|\n]*`{name}`[^|\n]* \| ([^\n]*) \|$",
            PAGE.split("The rows that a file needs")[0],
            re.MULTILINE,
        )
        assert task.licence in row or name in ("own", "continuation"), name
        assert f"| {METHODS[name][0]} |" in row, name
    for rules in EXTRACTORS.values():
        for rule in rules:
            assert f"`{rule}`" in PAGE, rule
    for key in OwnSpec.model_fields:
        assert f"`{key}`" in PAGE, key


def test_the_pages_own_task_is_a_good_one(tmp_path: Path) -> None:
    (shown,) = re.findall(r"<!-- test: own.yaml -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    task = yaml.safe_load(shown)["task"]
    document = {
        "name": "x",
        "resources": {"provider": "local"},
        "runs": [{"name": "a", "model": "org/m", "task": task}],
    }
    shutil.copy(EXAMPLES / "capitals.jsonl", tmp_path)
    (run,) = parse_spec(yaml.safe_dump(document), "x.yaml", tmp_path).runs
    own = load(TASKS["own"])()
    spec = run.task.model_copy(update={"path": str(tmp_path / "capitals.jsonl")})
    samples = own.load(spec).samples
    assert len(samples) == 12
    assert contract.breaches(own, spec, samples) == []


def test_the_pages_breach_is_what_is_said() -> None:
    (shown,) = re.findall(r"<!-- test: contract prints -->\n```text\n(.*?)\n```", PAGE, re.DOTALL)
    task = load(TASKS["gsm8k"])()
    assert shown in contract.breaches(task, TaskSpec(name="gsm8k", extractors=["boxed"]))
