"""The two sides of a comparison, each as a process of its own: the agent's worker, and the peer's command
line.

Here a side is set up, run and read back. What is compared is in `scores.py` and `pace.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generation import MODEL, environment, peer_python
from benchmarks.machine import ROOT, Cost, run
from remote_agent.journal import scan
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec

SHARED_ENV = "GPUSESS_SHARED"
VLLM_ENV = "GPUSESS_VLLM_PYTHON"
NO_DATA = "the shared data is not here: GPUSESS_SHARED names its folder"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ours:
    """What a worker's run took and recorded. `request`: CPU seconds of the evaluation, with its processes."""

    whole: Cost
    request: float
    wall: float
    journal: float
    """Wall seconds of it inside the journal."""
    results: list[Record]


@dataclass(frozen=True, slots=True)
class Theirs:
    """What the peer's run took, and its samples of each task in the order of their rows."""

    whole: Cost
    request: float
    samples: Mapping[str, list[Record]]


def cost_of(side: Ours | Theirs) -> str:
    took = f"{side.request:.1f} of {side.whole.cpu:.1f} cpu s requesting of the whole"
    return f"{took}; peak {side.whole.peak_mib:.0f} MiB"


def data(name: str) -> Path | None:
    """A file or folder of the shared data, or None."""
    path = Path(os.environ.get(SHARED_ENV) or ROOT.parent / "shared") / "data" / name
    return path if path.exists() else None


def rows_of(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write_rows(path: Path, rows: Sequence[Record]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ours(
    folder: Path,
    model: Path,
    task: TaskSpec,
    engine: EngineSpec,
    generate: GenerateSpec | None = None,
    python: str = sys.executable,
) -> Ours:
    """The agent's worker on an order of its own, as the supervisor would start it."""
    _order_in(folder, model, task, engine, generate)
    times = folder / "times.json"
    cost = run([python, "-m", "benchmarks.generation_ours", str(folder), str(times)], environment())
    found = json.loads(times.read_text())
    return Ours(cost, found["cpu"], found["wall"], found["journal"], _results(folder))


def our_answers(
    folder: Path, model: Path, asked: Mapping[str, tuple[TaskSpec, GenerateSpec | None]], engine: EngineSpec
) -> dict[str, list[Record]]:
    """What workers record of several tasks, by their names: one after the other in one process."""
    runs = {name: folder / name for name in asked}
    for name, (task, generate) in asked.items():
        _order_in(runs[name], model, task, engine, generate)
    command = [sys.executable, "-m", "benchmarks.generation_ours", *map(str, runs.values())]
    run([*command, str(folder / "times.json")], environment())
    return {name: _results(place) for name, place in runs.items()}


def _order_in(
    folder: Path, model: Path, task: TaskSpec, engine: EngineSpec, generate: GenerateSpec | None
) -> None:
    folder.mkdir(parents=True)
    order = Order(
        run="bench", name="bench", model=str(model), model_id=MODEL, task=task, engine=engine,
        generate=generate or GenerateSpec(),
    )  # fmt: skip
    (folder / "order.json").write_text(order.model_dump_json())


def _results(folder: Path) -> list[Record]:
    """In the order of their samples' names, which is that of their rows."""
    found = [r for r in scan(folder / "journal.jsonl").records if r["kind"] == "result"]
    return sorted(found, key=lambda r: str(r["sample"]))


def theirs(
    folder: Path,
    model: Path,
    tasks: Mapping[str, str],
    batch: int,
    *,
    template: bool = False,
    modules: Sequence[Path] = (),
) -> Theirs:
    """The peer's command line on tasks given as YAML by their names. modules: what their functions are in."""
    python, why = peer_python()
    assert python is not None, why
    folder.mkdir(parents=True)
    for name, text in tasks.items():
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{text}")
    for module in modules:
        shutil.copy(module, folder)
    times, out = folder / "times.json", folder / "out"
    # fmt: off
    command = [
        "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32",
        "--tasks", ",".join(tasks), "--include_path", str(folder),
        "--batch_size", str(batch), "--device", "cpu", "--log_samples", "--output_path", str(out),
        *(["--apply_chat_template"] if template else []),
    ]
    # fmt: on
    cost = run(
        [str(python), str(ROOT / "benchmarks/generation_peer.py"), str(times), *command],
        {**environment(), "HF_DATASETS_CACHE": str(folder / "cache")},
        cwd=folder,
    )
    samples = {name: sorted(_samples(out, name), key=lambda s: int(s["doc_id"])) for name in tasks}
    return Theirs(cost, json.loads(times.read_text())["cpu"], samples)


def _samples(out: Path, name: str) -> Iterator[Record]:
    for log in out.rglob(f"samples_{name}_*.jsonl"):
        yield from rows_of(log)


def peer_module(name: str) -> Path:
    """A Python file among the peer's tasks, for `!function`."""
    python, why = peer_python()
    assert python is not None, why
    (found,) = python.parent.parent.glob(f"lib/python*/site-packages/lm_eval/tasks/{name}")
    return found
