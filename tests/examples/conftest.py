"""The examples as a user runs them: `gpusess up FILE --headless --json` in a process of its own, with a data
folder of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from remote_agent.protocol import TaskSpec
from remote_agent.registry import TASKS, load

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LIMIT_SECONDS = 150.0

Spec = dict[str, Any]


@dataclass
class Bench:
    """Runs adapted examples."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def gpusess(self, *args: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "GPUSESS_HOME": str(self.folder / "home"), **self.env}
        return subprocess.run(
            [sys.executable, "-m", "gpusess", *args],
            env=env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )

    def up(self, name: str, adapt: Callable[[Spec], None]) -> tuple[int, dict[str, Any]]:
        """The exit status and the summary of an example that `adapt` has changed."""
        spec = yaml.safe_load((EXAMPLES / name).read_text())
        adapt(spec)
        (self.folder / name).write_text(yaml.safe_dump(spec, sort_keys=False))
        done = self.gpusess("up", name, "--headless", "--json")
        assert done.stdout, done.stderr
        facts: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, facts


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    done = made.gpusess("status", "--json")
    for session in json.loads(done.stdout)["sessions"]:
        if session["state"] != "terminated":
            made.gpusess("terminate", session["id"], "--now", "--yes")


def recorded(spec: Spec, folder: Path, limit: int, pace: float = 0.0) -> None:
    """Put recorded answers in the model's place: right ones to every other sample, wrong ones to the rest."""
    run = spec["runs"][0]
    run["task"]["limit"] = limit
    asked = {**run["task"]}
    if "path" in asked:
        asked["path"] = str(folder / asked["path"])
    chosen = load(TASKS[asked["name"]])().load(TaskSpec(**asked)).samples
    rows = [
        {
            "prompt_sha": "none",
            "sample": s.id,
            "completion": f"#### {s.gold if i % 2 == 0 else 10**6}",
            "tokens_in": 1,
            "tokens_out": 4,
            "finish": "stop",
        }
        for i, s in enumerate(chosen)
    ]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run["engine"] = {
        "name": "recorded",
        "path": "answers.jsonl",
        "pace": pace,
        "batch_size": run["engine"]["batch_size"],
    }
