"""Trainings in folders of their own: the order, the worker's process, and what its journal says afterwards."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from remote_agent import worker
from remote_agent.engines import environment
from remote_agent.journal import Journal, decode_all
from remote_agent.protocol import Check, EngineSpec, GenerateSpec, Opened, Order, TaskSpec, payload
from remote_agent.train_protocol import TrainSpec

LIMIT = 180.0


def order_into(
    folder: Path, model: Path, rows: Path, task: dict[str, Any] | None = None, **train: Any
) -> Path:
    """A run's folder with the order of a short training; `train` overrides its settings."""
    settings: dict[str, Any] = {
        "method": "sft",
        "data": {"path": str(rows)},
        "steps": 8,
        "batch_size": 4,
        "lr": 1e-3,
        "save_every": 3,
        "eval_every": 4,
        **train,
    }
    order = Order(
        run="t",
        name="t",
        kind="train",
        model=str(model),
        model_id="tiny",
        task=TaskSpec.model_validate({"name": "word_problems", "fewshot": 0, "limit": 3, **(task or {})}),
        engine=EngineSpec(dtype="float32", batch_size=4, threads=1),
        generate=GenerateSpec(max_tokens=4),
        train=TrainSpec.model_validate(settings),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "order.json").write_text(order.model_dump_json())
    already_tried(folder)
    return folder


def already_tried(run: Path) -> None:
    """As if an earlier attempt had tried the machine by importing everything in a process of its own."""
    if not (run / "journal.jsonl").exists():
        with Journal(run / "journal.jsonl") as journal:
            passed = Check(name="packages", status="ok", message="")
            journal.append([payload(Opened(attempt=1, pid=1, agent="test")), payload(passed)])


class Forked:
    """A worker's process out of one that has imported the training's libraries: it begins in milliseconds."""

    def __init__(self, run: Path) -> None:
        self._process = _imported().Process(target=_worker, args=(run,))
        self._process.start()

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int | None:
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """SIGKILL, and its end."""
        self._process.kill()
        self._process.join()


@cache
def _imported() -> ForkServerContext:
    """Starts the server of such processes, once for each process of pytest."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["remote_agent.worker", "remote_agent.training.work"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            **environment.COMMON,
        }.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    return context


def _worker(run: Path) -> None:
    log = os.open(run / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.exit(worker.main(run))


def start(run: Path) -> Forked:
    """The worker in a process of its own."""
    return Forked(run)


def work(run: Path) -> int:
    """Work to the end, in this process; the exit status."""
    return worker.main(run)


def kill_when(run: Path, found: Any) -> None:
    """Work until `found(records)` is true, then SIGKILL."""
    process = start(run)
    deadline = time.monotonic() + LIMIT
    while not found(records(run)):
        assert process.poll() is None, (run / "worker.log").read_text()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()


def records(run: Path) -> list[dict[str, Any]]:
    path = run / "journal.jsonl"
    if not path.exists():
        return []
    data = path.read_bytes()
    return list(decode_all(data[: data.rfind(b"\n") + 1]))


def of_kind(run: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in records(run) if record["kind"] == kind]


def losses(run: Path) -> dict[int, float]:
    """Step → loss; of a step that was computed twice, the later one."""
    return {record["step"]: record["figures"]["loss"] for record in of_kind(run, "step")}
