"""Trainings in several processes over gloo: one journal, one set of checkpoints, and the same course."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_agent import checkpoints
from tests.training.runs import kill_when, losses, of_kind, order_into, start, work

pytestmark = [pytest.mark.model, pytest.mark.slow]
STEPS = {"steps": 4, "save_every": 2, "eval_every": 4, "lora": {"r": 4}, "keep": 9}
LIMIT = 240.0


def finish(run: Path) -> int:
    """Work to the end, in a process of its own: the environment of a group stays in it."""
    return start(run).wait(LIMIT)


@pytest.mark.sample
def test_two_processes_train_what_one_does(tmp_path: Path, tiny_model: Path, rows_file: Path) -> None:
    alone = order_into(tmp_path / "alone", tiny_model, rows_file, batch_size=4, **STEPS)
    assert work(alone) == 0
    both = order_into(tmp_path / "both", tiny_model, rows_file, batch_size=2, processes=2, **STEPS)
    assert finish(both) == 0, (both / "worker.log").read_text()[-3000:]
    assert losses(both) == pytest.approx(losses(alone), abs=1e-4)
    assert [r["step"] for r in of_kind(both, "evaluated")] == [0, 4]
    assert [made.step for made in checkpoints.whole(both)] == [2, 4]


def test_two_processes_that_were_killed_go_on_from_the_checkpoint(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    settings = {**STEPS, "batch_size": 2, "processes": 2, "eval_every": None}
    quiet = order_into(tmp_path / "quiet", tiny_model, rows_file, **settings)
    assert finish(quiet) == 0
    killed = order_into(tmp_path / "killed", tiny_model, rows_file, **settings)
    kill_when(killed, lambda found: any(r["kind"] == "step" and r["step"] == 3 for r in found))
    assert finish(killed) == 0
    assert of_kind(killed, "continued")[-1]["step"] == 2
    assert losses(killed) == pytest.approx(losses(quiet), abs=1e-6)
