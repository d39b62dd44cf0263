"""`gpusess steer` and what it leaves to be seen: a training at home, and a thread that obeys in the driver's place."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpusess import paths
from gpusess.cli import cli
from gpusess.errors import SessionError
from gpusess.sessions.driver_lock import DriverLock
from gpusess.sessions.states import ORDER, State
from gpusess.sessions.store import Request, Store
from remote_agent.journal import encode

PLANNED = {
    "kind": "train_planned", "method": "sft", "steps": 400, "rows": 8, "tokens": 9, "counted": 9, "trainable": 1,
    "parameters": 2, "plan_sha": "ab", "data": "rows.jsonl", "model": "m", "dtype": "float32",
    "settings": {"lr": 0.001},
}  # fmt: skip
ALARM = {
    "kind": "guarded",
    "step": 98,
    "rule": "loss",
    "message": "4 times its median",
    "action": "alarm",
    "to_step": None,
}


class Training:
    """A session whose training runs, as it stands at home."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seq = 0
        store.add_session(
            id="abc1", name="amber-finch", job="train", provider="local", spec="", spec_path="x", options={},
            runs=[("abc1-sft", "sft"), ("abc1-eval", "eval")],
        )  # fmt: skip
        for state in ORDER[1 : ORDER.index(State.RUNNING) + 1]:
            store.move("abc1", state)
        store.update_run("abc1-sft", status="running", started=time.time())
        saved = {"kind": "saved", "bytes": 1, "sha": "c", "seconds": 1.0}
        self.write(PLANNED, *({**saved, "step": n, "name": f"step-{n:06}"} for n in (50, 100)))
        self.write(
            *({"kind": "step", "step": n, "tokens": n, "figures": {"loss": 1.0}} for n in range(1, 121))
        )

    def write(self, *records: dict[str, Any]) -> None:
        folder = paths.run_dir("abc1", "abc1-sft")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "journal.jsonl").open("ab") as file:
            for record in records:
                file.write(encode(record, self.seq, time.time()))
                self.seq += 1

    def steer(self, *args: str, stdin: str = "") -> Result:
        return CliRunner().invoke(cli, ["steer", *args], input=stdin)

    def requests(self) -> list[Request]:
        return self.store.requests("steer", "stop_run")


@pytest.fixture
def training(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Training]:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    monkeypatch.setattr("gpusess.sessions.start.ensure_driver", lambda *_, **__: None)
    monkeypatch.setattr("gpusess.cli.steer_training.LOOK_EVERY", 0.01)
    store = Store(paths.database())
    lock = DriverLock("abc1")
    yield Training(store)
    lock.release()
    store.close()


@pytest.fixture
def obeying(training: Training) -> Iterator[list[dict[str, Any]]]:
    """Takes what is asked and writes that it was done, as driver and training would; what was asked."""
    done, seen = threading.Event(), []

    def obey() -> None:
        store = Store(paths.database())
        while not done.wait(0.01):
            for request in store.open_requests("abc1"):
                store.take_request(request.id)
                ask = request.args.get("ask", {"action": "stop"})
                seen.append(ask)
                if request.verb == "stop_run":
                    store.update_run("abc1-sft", status="stopped")
                    continue
                to = {"to_step": 50, "lr_factor": ask["lr"]} if ask["action"] == "rollback" else {}
                until = {"until": 121 + ask["steps"]} if ask["action"] == "ignore" else {}
                training.write(
                    {"kind": "steered", "id": ask["id"], "step": 121, "action": ask["action"], **to, **until}
                )
        store.close()

    thread = threading.Thread(target=obey)
    thread.start()
    yield seen
    done.set()
    thread.join()


@pytest.mark.parametrize(
    ("words", "question", "said"),
    [
        (("pause",), "make a checkpoint now, and end the run?", "done at step 121: paused at a checkpoint"),
        (("ignore", "--steps", "9"), "ignore alarms for 9 steps", "alarms are ignored up to step 130"),
        (
            ("rollback", "amber-finch/sft", "--lr", "0.25", "--before", "60"),
            "go back to step 50 with the learning rate x 0.25; 70 steps go?",
            "done at step 121: back to step 50, lr x 0.25",
        ),
        (("stop", "abc1"), "end the run at once; 20 steps since the last checkpoint are lost?", "sft: stopped at step 120"),
    ],
)  # fmt: skip
def test_it_asks_first_passes_on_and_says_when_it_is_done(
    training: Training, obeying: list[dict[str, Any]], words: tuple[str, ...], question: str, said: str
) -> None:
    answer = training.steer(*words, stdin="y\n")
    assert answer.exit_code == 0, answer.output
    assert "amber-finch/sft: step 120 of 400\nno alarm\nthe instance bills nothing" in answer.output
    assert question in answer.output
    assert said in answer.output
    (ask,) = obeying
    assert ask["action"] == words[0]


def test_without_a_yes_nothing_is_asked(training: Training) -> None:
    answer = CliRunner().invoke(cli, ["steer", "stop"], input="\n", standalone_mode=False)
    assert answer.return_value == 1
    assert training.requests() == []


def test_a_rollback_goes_before_the_alarm(training: Training) -> None:
    training.write(ALARM)
    answer = training.steer("rollback", "--yes", "--detach")
    assert "loss at step 98: 4 times its median" in answer.output
    assert "asked to go back to step 95 or earlier, with the learning rate × 0.5" in answer.output
    (request,) = training.requests()
    assert (request.args["ask"]["before"], request.args["ask"]["lr"]) == (95, 0.5)


def test_what_was_asked_is_in_status_until_it_is_done_or_dropped(training: Training) -> None:
    assert training.steer("pause", "-y", "--detach").exit_code == 0
    (request,) = training.requests()

    def status(*args: str) -> str:
        return CliRunner().invoke(cli, ["status", *args]).output

    assert "asked: amber-finch/sft to pause at a checkpoint, 0:00 ago: it waits for the link" in status()
    training.store.take_request(request.id)
    assert "asked     to pause at a checkpoint, 0:00 ago: it is done at the end of a step" in status("abc1")
    facts = json.loads(status("abc1", "--json"))["runs"][0]["asked"]
    assert [(a["action"], a["taken"], a["dropped"]) for a in facts] == [("pause", True, "")]
    again = training.steer("pause", "-y")
    assert isinstance(again.exception, SessionError)
    assert "was asked to pause at a checkpoint 0:00 ago" in again.exception.message
    assert "`gpusess status amber-finch`" in again.exception.hint
    training.store.drop_request(request, "the run does not run")
    assert "not done: the run does not run" in status()
    training.write({"kind": "steered", "id": request.args["ask"]["id"], "step": 121, "action": "pause"})
    assert "pause" not in status()


def test_what_is_dropped_ends_the_waiting(training: Training) -> None:
    def drop() -> None:
        store = Store(paths.database())
        while not (found := store.open_requests("abc1")):
            time.sleep(0.01)
        store.drop_request(found[0], "the training could not be reached within 10 minutes")
        store.close()

    thread = threading.Thread(target=drop)
    thread.start()
    answer = training.steer("ignore", "-y")
    thread.join()
    assert isinstance(answer.exception, SessionError)
    assert (
        "was not asked to ignore alarms for 50 steps: the training could not be" in answer.exception.message
    )


@pytest.mark.parametrize(
    ("status", "name", "message", "hint"),
    [
        ("running", "amber-finch/eval", "amber-finch/eval has not begun", "gpusess status amber-finch"),
        ("running", "amber-finch/x", "no run 'x' in amber-finch", "its runs: sft, eval"),
        ("stopped", "amber-finch", "amber-finch/sft does not run: it is stopped", "gpusess resume amber-finch"),
        ("complete", "amber-finch", "does not run: it is complete", "gpusess status amber-finch"),
        ("complete", "", "no training runs", "gpusess status"),
        ("running", "nobody", "no session 'nobody'", "gpusess status --all"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_next_step(
    training: Training, status: str, name: str, message: str, hint: str
) -> None:
    training.store.update_run("abc1-sft", status=status)
    answer = training.steer("pause", *([name] if name else []), "-y")
    assert isinstance(answer.exception, SessionError), answer.output
    assert message in answer.exception.message
    assert hint in answer.exception.hint
    assert training.requests() == []


def test_nobody_who_drives_is_said(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpusess.cli.steer_training.DRIVER_PATIENCE", 0.1)
    monkeypatch.setattr("gpusess.sessions.board.is_held", lambda _: False)
    answer = training.steer("pause", "-y")
    assert "nobody drives the session: a driver is started" in answer.output
    assert isinstance(answer.exception, SessionError)
    assert "`gpusess resume amber-finch`" in answer.exception.hint
    assert len(training.requests()) == 1, "it waits"


def test_a_kept_session_goes_on_with_what_was_paused(training: Training) -> None:
    training.store.update_run("abc1-sft", status="stopped")
    training.store.move("abc1", State.READY)
    answer = CliRunner().invoke(cli, ["resume", "abc1", "--detach"])
    assert answer.exit_code == 0, answer.output
    assert training.store.runs("abc1")[0].status == "pending"
    assert [request.verb for request in training.store.open_requests("abc1")] == ["take_up"]
    again = CliRunner().invoke(cli, ["resume", "abc1", "--detach"])
    assert isinstance(again.exception, SessionError)
    assert "is being driven already" in again.exception.message
