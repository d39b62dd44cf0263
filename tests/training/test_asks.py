"""A user's asks of a training that runs: done once, at the end of a step, journalled, and held to on resume."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from remote_agent import checkpoints
from remote_agent.train_protocol import Ask
from remote_agent.training.asks import Asks, forget, leave
from remote_agent.training.asks import main as steer
from remote_agent.training.course import course_of
from tests.training.runs import LIMIT, kill_when, of_kind, order_into, records, start, work


def ask(**fields: Any) -> Ask:
    return Ask.model_validate({"id": "a1", "action": "ignore", **fields})


def test_asks_are_given_in_their_order_and_none_is_given_again_that_was_answered(tmp_path: Path) -> None:
    assert Asks(tmp_path, set()).next() is None
    leave(tmp_path, ask(id="b"))
    time.sleep(0.01)
    leave(tmp_path, ask(id="a", action="pause"))
    (tmp_path / "asks" / "c.tmp").write_text("half of one")
    answered: set[str] = set()
    asks = Asks(tmp_path, answered)
    first = asks.next()
    assert first is not None
    assert first.id == "b"
    answered.add("b")
    second = asks.next()
    assert second == ask(id="a", action="pause")
    assert not (tmp_path / "asks" / "b.json").exists()
    forget(tmp_path)
    assert asks.next() is None


def test_an_ask_is_refused_where_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(ask().model_dump_json()))
    assert steer(tmp_path) == 0
    assert json.loads(capsys.readouterr().out) == {"error": "the run does not run"}
    monkeypatch.setattr("sys.stdin", io.StringIO('{"id": "../up", "action": "pause"}'))
    assert steer(tmp_path) == 0
    assert "error" in json.loads(capsys.readouterr().out)
    assert not (tmp_path / "asks").exists()


def test_a_course_remembers_what_was_asked_for() -> None:
    steps = [{"kind": "step", "step": n, "figures": {"loss": 1.0}} for n in (1, 2, 3)]
    back = {"kind": "steered", "id": "a", "step": 3, "action": "rollback", "to_step": 1, "lr_factor": 0.25}
    quiet = {"kind": "steered", "id": "b", "step": 4, "action": "ignore", "until": 54}
    course = course_of([*steps, back, quiet])
    assert list(course.figures) == [1]
    assert course.lr_factor == 0.25
    assert course.rollbacks == 0
    assert course.answered == {"a", "b"}
    assert course.pardoned == 54


def when_at(run: Path, step: int, *asks: Ask) -> int:
    """Work in a process of its own, leave the asks once that step is journalled; its exit status."""
    process = start(run)
    deadline = time.monotonic() + LIMIT
    while not any(r["step"] >= step for r in of_kind(run, "step")):
        assert process.poll() is None, (run / "worker.log").read_text()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for one in asks:
        leave(run, one)
    return process.wait(LIMIT)


@pytest.mark.model
@pytest.mark.slow
def test_pause_makes_a_checkpoint_of_that_step_and_resuming_goes_on_from_it(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    run = order_into(tmp_path / "run", tiny_model, rows_file, steps=400, save_every=300, eval_every=None)
    assert when_at(run, 3, ask(action="pause")) == 4
    (steered,) = of_kind(run, "steered")
    paused = steered["step"]
    assert (steered["id"], steered["action"]) == ("a1", "pause")
    assert paused < 400
    assert checkpoints.whole(run)[-1].step == paused
    assert "paused at a checkpoint by its user" in of_kind(run, "finished")[-1]["message"]
    # The note is still there; the journal says that it was done.
    kill_when(run, lambda found: any(r["kind"] == "step" and r["step"] >= paused + 2 for r in found))
    assert of_kind(run, "continued")[-1]["step"] == paused
    assert len(of_kind(run, "steered")) == 1


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.sample
def test_roll_back_and_ignore_while_it_runs(tmp_path: Path, tiny_model: Path, rows_file: Path) -> None:
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, steps=60, lr=1e-3, schedule="constant", warmup=0.0,
        save_every=4, keep=9, eval_every=None, guard={"patience": 1, "grad_norm": 1.001, "loss": None},
    )  # fmt: skip
    leave(run, ask(id="quiet", steps=60))
    asked = ask(id="back", action="rollback", before=9, lr=0.1)
    assert when_at(run, 14, asked) == 0
    quiet, back = of_kind(run, "steered")
    assert (quiet["step"], quiet["until"]) == (1, 61)
    assert not of_kind(run, "guarded"), "a guard with hardly any limit found nothing: it was to be ignored"
    assert back["to_step"] == 8
    assert back["lr_factor"] == pytest.approx(0.1)
    after = [r for r in records(run)[records(run).index(back) :] if r["kind"] == "step"]
    assert after[0]["step"] == 9
    assert after[0]["figures"]["lr"] == pytest.approx(1e-4)
    assert work(run) == 0


@pytest.mark.model
@pytest.mark.slow
def test_all_processes_of_a_training_learn_of_an_ask_at_the_same_step(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    run = order_into(
        tmp_path / "run", tiny_model, rows_file, steps=200, batch_size=2, processes=2, save_every=150,
        eval_every=None,
    )  # fmt: skip
    assert when_at(run, 3, ask(id="quiet"), ask(id="stop", action="pause")) == 4, (
        run / "worker.log"
    ).read_text()[-3000:]
    quiet, paused = of_kind(run, "steered")
    assert (quiet["action"], paused["action"]) == ("ignore", "pause")
    assert checkpoints.whole(run)[-1].step == paused["step"] == quiet["step"] + 1
