"""Sweeps over the checkpoints of a real small training: adapters on one base, results that stand once, torn
checkpoints, and a sweep that was killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remote_agent import checkpoints, worker
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, SweepSpec, TaskSpec
from tests.training.runs import already_tried, kill_when, of_kind, order_into, records, work

pytestmark = pytest.mark.model

SAMPLES = 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, rows_file: Path) -> Path:
    """The run's folder of a LoRA training with three checkpoints and both exports."""
    run = order_into(
        tmp_path_factory.mktemp("trained") / "run", tiny_model, rows_file, steps=6, save_every=2, keep=9,
        lr=5e-2, warmup=0.0, eval_every=None, lora={"r": 4}, export="both",
    )  # fmt: skip
    assert work(run) == 0
    return run


def sweep_into(run: Path, model: Path, folder: Path, **changes: Any) -> Path:
    """A run's folder with the order of a sweep."""
    fields: dict[str, Any] = {
        "run": "s",
        "name": "s",
        "kind": "sweep",
        "model": str(model),
        "model_id": "tiny",
        "task": TaskSpec(name="word_problems", fewshot=0, limit=SAMPLES),
        "engine": EngineSpec(dtype="float32", batch_size=2, threads=1),
        "generate": GenerateSpec(max_tokens=4),
        "sweep": SweepSpec(folder=str(folder)),
        **changes,
    }
    run.mkdir(parents=True, exist_ok=True)
    (run / "order.json").write_text(Order(**fields).model_dump_json())
    already_tried(run)
    return run


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, trained: Path, tiny_model: Path) -> Path:
    """A sweep that nothing disturbed."""
    run = sweep_into(tmp_path_factory.mktemp("quiet") / "run", tiny_model, checkpoints.folder(trained))
    assert worker.main(run) == 0
    return run


def answers(run: Path) -> dict[str, str]:
    """Key → what was answered. Each key stands once."""
    found = of_kind(run, "result")
    assert len({r["sample"] for r in found}) == len(found)
    return {r["sample"]: r["completion"] for r in found}


def test_each_checkpoint_and_the_base_is_evaluated_on_the_same_samples(quiet: Path) -> None:
    run = quiet
    (swept,) = of_kind(run, "swept")
    names = ["base", "step-000002", "step-000004", "step-000006"]
    assert [arm["name"] for arm in swept["arms"]] == names
    assert [arm["step"] for arm in swept["arms"]] == [0, 2, 4, 6]
    assert swept["total"] == 4 * SAMPLES
    assert [(r["arm"], r["step"]) for r in of_kind(run, "planned")] == list(
        zip(names, (0, 2, 4, 6), strict=True)
    )
    samples = {name: {s.split("/", 1)[1] for s in answers(run) if s.startswith(f"{name}/")} for name in names}
    assert all(len(found) == SAMPLES and found == samples["base"] for found in samples.values())
    said = (c["name"] for c in of_kind(run, "check"))
    assert {"trained format", "trained base"} <= set(said)


def test_an_arm_answers_as_its_checkpoint_does_when_it_is_evaluated_alone(
    tmp_path: Path, trained: Path, quiet: Path
) -> None:
    swept = answers(quiet)
    for name in ("step-000002", "step-000006", "adapter", "merged"):
        place = checkpoints.folder(trained) / name
        alone = sweep_into(tmp_path / name, place, tmp_path, kind="eval", sweep=None, model_id=name)
        assert worker.main(alone) == 0
        arm = name if name.startswith("step") else "step-000006"
        assert {f"{arm}/{sample}": text for sample, text in answers(alone).items()}.items() <= swept.items()
    base = {text for sample, text in swept.items() if sample.startswith("base/")}
    last = {text for sample, text in swept.items() if sample.startswith("step-000006/")}
    assert base != last, "the training has changed what is answered"


def test_a_torn_checkpoint_is_passed_over_with_a_word(
    tmp_path: Path, trained: Path, tiny_model: Path
) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(checkpoints.folder(trained), folder)
    (folder / "step-000004" / "adapter_model.safetensors").write_bytes(b"torn")
    (folder / "step-000002" / "optimizer.pt").unlink()
    (folder / "step-000008").mkdir()
    run = sweep_into(tmp_path / "sweep", tiny_model, folder)
    assert worker.main(run) == 0
    (swept,) = of_kind(run, "swept")
    assert [arm["name"] for arm in swept["arms"]] == ["base", "step-000002", "step-000006"]
    passed = {r["name"]: r["reason"] for r in of_kind(run, "passed_over")}
    assert set(passed) == {"step-000004", "step-000008"}
    assert "adapter_model.safetensors is not what the manifest says" in passed["step-000004"]


def cut_after(run: Path, source: Path, last: Callable[[dict[str, Any]], bool]) -> None:
    """Give a run what another one had journalled up to the first record of that kind, as a crash would."""
    lines = (source / "journal.jsonl").read_bytes().splitlines(keepends=True)
    end = next(n for n, record in enumerate(records(source), 1) if last(record))
    (run / "journal.jsonl").write_bytes(b"".join(lines[:end]) + lines[end][:20])


@pytest.mark.parametrize("arm", ["base", "step-000002", "step-000006"])
def test_a_sweep_goes_on_from_wherever_it_was_cut_off(
    tmp_path: Path, trained: Path, tiny_model: Path, quiet: Path, arm: str
) -> None:
    run = sweep_into(tmp_path / "cut", tiny_model, checkpoints.folder(trained))
    cut_after(run, quiet, lambda r: r["kind"] == "result" and r["sample"].startswith(arm))
    before = records(run)
    assert worker.main(run) == 0
    assert records(run)[: len(before)] == before
    assert answers(run) == answers(quiet)
    assert len(of_kind(run, "swept")) == 1
    assert len(of_kind(run, "planned")) == 4


@pytest.mark.slow
@pytest.mark.sample
def test_a_killed_sweep_goes_on_and_counts_nothing_twice(
    tmp_path: Path, trained: Path, tiny_model: Path, quiet: Path
) -> None:
    run = sweep_into(tmp_path / "killed", tiny_model, checkpoints.folder(trained))
    kill_when(run, lambda found: sum(r["kind"] == "result" for r in found) >= 5)
    before = len(answers(run))
    assert 5 <= before < 4 * SAMPLES
    assert worker.main(run) == 0
    assert answers(run) == answers(quiet)
    assert len(of_kind(run, "swept")) == 1
    assert len(of_kind(run, "planned")) == 4
    assert records(run)[-1]["outcome"] == "complete"


def test_a_checkpoint_that_is_gone_on_resume_is_said_and_the_rest_is_done(
    tmp_path: Path, trained: Path, tiny_model: Path, quiet: Path
) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(checkpoints.folder(trained), folder)
    run = sweep_into(tmp_path / "sweep", tiny_model, folder)
    cut_after(run, quiet, lambda r: r["kind"] == "result")
    shutil.rmtree(folder / "step-000004")
    assert worker.main(run) == 0
    (passed,) = of_kind(run, "passed_over")
    assert (passed["name"], passed["left"]) == ("step-000004", SAMPLES)
    assert len(answers(run)) == 3 * SAMPLES


def test_checkpoints_of_another_format_are_refused_before_the_first_answer(
    tmp_path: Path, trained: Path, tiny_model: Path
) -> None:
    task = TaskSpec(name="word_problems", fewshot=0, limit=SAMPLES, extractors=["boxed"])
    run = sweep_into(tmp_path / "sweep", tiny_model, checkpoints.folder(trained), task=task)
    assert worker.main(run) == 3
    assert not of_kind(run, "result")
    assert "boxed" in of_kind(run, "finished")[-1]["message"]


def test_an_adapter_whose_base_is_missing_says_what_to_do(tmp_path: Path, trained: Path) -> None:
    place = tmp_path / "alone"
    shutil.copytree(checkpoints.folder(trained) / "adapter", place)
    contract = place / "gpusess-contract.json"
    contract.write_text(json.dumps({**json.loads(contract.read_text()), "base": "/nowhere/model"}))
    config = place / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "/gone"}))
    (place / "manifest.json").unlink()
    run = sweep_into(tmp_path / "run", place, tmp_path, kind="eval", sweep=None)
    assert worker.main(run) == 3
    said = of_kind(run, "finished")[-1]["message"]
    assert "/nowhere/model" in said
    assert "/gone" in said
    assert "name the base model in the spec (`base:`" in said
