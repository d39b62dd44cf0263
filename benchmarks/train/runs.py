"""A training as a user's would run: an order in a folder, the agent's supervisor, its worker, and what their
journals say. Nothing is measured here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generation import MODEL, environment
from benchmarks.machine import ROOT, BenchmarkBroken
from gpusess.analysis.run_state import RunState, fold
from gpusess.analysis.training_state import TrainState
from remote_agent import control
from remote_agent.follow import length
from remote_agent.journal import Record, decode_all
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec
from remote_agent.train_protocol import TrainSpec

POLL = 0.05
LIMIT = 900.0
"""Seconds after which a training that has not ended is given up."""
THREADS = max(1, min(2, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Run:
    """A training's folder."""

    folder: Path

    def start(self) -> None:
        """Start the supervisor, which starts the worker. One that is running is left alone."""
        handed = json.dumps({"env": {"OMP_NUM_THREADS": str(THREADS)}})
        command = [sys.executable, "-m", "remote_agent", "supervise", str(self.folder)]
        said = subprocess.run(
            command, input=handed, text=True, cwd=ROOT, env=environment(), capture_output=True, timeout=60
        )
        if said.returncode:
            raise BenchmarkBroken(f"the supervisor did not start: {said.stdout}{said.stderr}")

    def stop(self) -> None:
        """End whatever of it still lives."""
        subprocess.run(
            [sys.executable, "-m", "remote_agent", "stop", str(self.folder)], cwd=ROOT, capture_output=True
        )

    def records(self, name: str = "journal.jsonl") -> list[Record]:
        """What is durable of a journal: what would have been streamed home."""
        path = self.folder / name
        return list(decode_all(path.read_bytes()[: length(self.folder, name)])) if path.exists() else []

    def of_kind(self, kind: str) -> list[Record]:
        return [record for record in self.records() if record["kind"] == kind]

    @property
    def ended(self) -> Record | None:
        return next((r for r in self.records("events.jsonl") if r["kind"] == "ended"), None)

    @property
    def worker(self) -> int | None:
        """The pid of the newest worker, as its supervisor has recorded it."""
        started = [r["pid"] for r in self.records("events.jsonl") if r["kind"] == "worker_started"]
        return started[-1] if started else None

    @property
    def supervisor(self) -> int | None:
        return control.supervisor_pid(self.folder)

    def course(self) -> TrainState:
        """The training as the fold over its journal has it, and with it the cockpit and `gpusess status`."""
        state = RunState()
        for record in self.records():
            fold(state, record)
        assert state.train is not None
        return state.train

    def wait(self, until: Callable[[], Any] | None = None, limit: float = LIMIT) -> Record:
        """Until the supervisor says that the run has ended. Raises BenchmarkBroken where it does not."""
        end = time.monotonic() + limit
        while not (ended := self.ended):
            if until and until():
                return {}
            if time.monotonic() > end:
                raise BenchmarkBroken(f"{self.folder.name} goes on after {limit:.0f} s: {self._tail()}")
            time.sleep(POLL)
        return ended

    def complete(self) -> Run:
        """From start to a whole end. Raises BenchmarkBroken."""
        self.start()
        try:
            ended = self.wait()
        finally:
            self.stop()
        if ended["outcome"] != "complete":
            raise BenchmarkBroken(f"{self.folder.name} ended {ended['outcome']}: {ended['message']}")
        return self

    def _tail(self) -> str:
        path = self.folder / "worker.log"
        return path.read_text(errors="replace")[-600:] if path.exists() else "no log"


def order(
    folder: Path,
    model: Path,
    task: dict[str, Any],
    train: dict[str, Any],
    *,
    tokens: int = 24,
    dtype: str = "float32",
    threads: int = THREADS,
) -> Run:
    """A run's folder with its order. tokens: the most of an answer in an evaluation."""
    asked = Order(
        run="bench", name=folder.name, kind="train", model=str(model), model_id=MODEL,
        task=TaskSpec.model_validate({"name": "word_problems", "fewshot": 0, **task}),
        engine=EngineSpec.model_validate({"dtype": dtype, "batch_size": 32, "threads": threads}),
        generate=GenerateSpec(max_tokens=tokens),
        train=TrainSpec.model_validate(train),
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "order.json").write_text(asked.model_dump_json())
    return Run(folder)
