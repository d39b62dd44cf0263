"""A training's worker and its supervisor are killed in the middle of steps and of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.train import killing, runs
from benchmarks.train.kills import bytes_apart, losses
from benchmarks.train.runs import Run
from remote_agent import checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.model]


def training(folder: Path, model: Path, rows: Path, steps: int) -> Run:
    train = {
        "method": "sft", "data": {"path": str(rows)}, "steps": steps, "batch_size": 8, "lr": 1e-3,
        "lora": {"r": 8, "dropout": 0.1}, "save_every": 5, "eval_every": steps // 2,
    }  # fmt: skip
    return runs.order(folder, model, {"limit": 3}, train, tokens=4, threads=1)


@pytest.mark.parametrize(
    ("kills", "steps"), [pytest.param(3, 120, marks=pytest.mark.sample), pytest.param(20, 400)]
)
def test_killed_at_any_moment_the_end_is_the_same(
    tmp_path: Path,
    tiny_model: Path,
    rows_file: Path,
    kills: int,
    steps: int,
) -> None:
    quiet = training(tmp_path / "quiet", tiny_model, rows_file, steps).complete()
    killed = training(tmp_path / "killed", tiny_model, rows_file, steps)
    found = list(killing.kill_often(killed, kills, seed=kills))
    assert len(found) == kills
    hits = [kill.hit for kill in found]
    assert hits.count("checkpoint") >= kills // 4, found
    assert "step" in hits
    assert [step for step, _ in losses(killed)] == list(range(1, steps + 1)), "each counts once"
    assert losses(killed) == pytest.approx(losses(quiet), abs=1e-6)
    assert bytes_apart(quiet, killed)[0] == 0
    ours, theirs = killed.course(), quiet.course()
    # Times that the trainer notes make some bytes more or less.
    assert [c[:2] for c in ours.checkpoints] == [c[:2] for c in theirs.checkpoints]
    assert ours.evaluations == theirs.evaluations
    assert not list(checkpoints.folder(killed.folder).glob(".*")), "nothing of a torn one is left"
