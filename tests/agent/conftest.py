"""Runs on disk for the worker: an order with the recorded engine, and its journal read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from remote_agent import protocol
from remote_agent.engines.base import prompt_sha
from remote_agent.engines.recorded import RecordedEngine
from remote_agent.journal import scan
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec
from remote_agent.tasks.word_problems import WordProblems

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Run:
    """A run's folder. `order` is what is written to it."""

    folder: Path
    order: Order

    def save(self) -> None:
        (self.folder / protocol.ORDER).write_text(self.order.model_dump_json())

    @property
    def journal(self) -> Path:
        return self.folder / protocol.JOURNAL

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        return [r for r in scan(self.journal).records if kind in (None, r["kind"])]

    def keys(self) -> list[tuple[str, int]]:
        return [(r["sample"], r["candidate"]) for r in self.records() if r["kind"] in ("result", "failed")]

    def start(self, *args: str, code: str | None = None, **env: str) -> subprocess.Popen[str]:
        """The worker as its own process; `code` runs before it, in the same interpreter."""
        script = (
            f"{code or ''}\nimport sys\nfrom remote_agent.__main__ import main\nsys.exit(main(sys.argv[1:]))"
        )
        return subprocess.Popen(
            [sys.executable, "-c", script, "work", str(self.folder), *args],
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
            stderr=subprocess.PIPE,
            text=True,
        )


def make_run(folder: Path, samples: int = 8, batch: int = 4, candidates: int = 1, pace: float = 0.0) -> Run:
    """A run over recorded answers to word problems; every third answer is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = TaskSpec(name="word_problems", limit=samples)
    recording = folder / "recorded.jsonl"
    order = Order(
        run=folder.name, name="test", model="none", model_id="none", task=spec,
        engine=EngineSpec(name="recorded", path=str(recording), batch_size=batch, pace=pace),
        generate=GenerateSpec(candidates=candidates, max_tokens=64),
    )  # fmt: skip
    task, engine = WordProblems(), RecordedEngine(order)
    rows = []
    for number, sample in enumerate(task.load(spec).samples):
        answer = int(sample.gold) + (number % 3 == 2)
        sha = prompt_sha(engine.render(task.messages(sample, spec)))
        rows.append(
            {
                "prompt_sha": sha,
                "completion": f"so\n#### {answer}",
                "tokens_in": 9,
                "tokens_out": 5,
                "finish": "stop",
            }
        )
    recording.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = Run(folder, order)
    run.save()
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "r-1")
