"""A training that is killed twenty times ends as one that was left alone: the same weights, the same losses,
no step counted twice.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.generation import model_folder
from benchmarks.machine import BenchmarkBroken
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.train import killing, problems, runs
from benchmarks.train.runs import Run
from remote_agent import checkpoints

KILLS, QUICK_KILLS = 20, 4
SAVE_EVERY = 2
WEIGHTS = "adapter_model.safetensors"
NAMES = ("loss after kills, largest difference", "weights after kills, same bytes")


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    model = model_folder()
    if isinstance(model, str):
        yield from (Skipped(name, model) for name in NAMES)
        return
    kills = QUICK_KILLS if quick else KILLS
    # Each kill in a step waits for a new one; some more pass before it comes.
    steps = SAVE_EVERY * (kills + 2)
    with tempfile.TemporaryDirectory(prefix="gpusess-train-") as scratch:
        learned, tested = problems.write(Path(scratch) / "data", 120, 8)
        train = {
            "method": "sft", "data": {"path": str(learned)}, "steps": steps, "batch_size": 2, "lr": 1e-3,
            "lora": {"r": 8, "alpha": 16, "dropout": 0.05}, "save_every": SAVE_EVERY, "eval_every": steps,
        }  # fmt: skip
        quiet = runs.order(Path(scratch) / "quiet", model, {"path": str(tested)}, train).complete()
        killed = runs.order(Path(scratch) / "killed", model, {"path": str(tested)}, train)
        found = list(killing.kill_often(killed, kills))
        yield from compared(quiet, killed, found, steps)


def compared(quiet: Run, killed: Run, kills: list[killing.Kill], steps: int) -> Iterator[Line]:
    """Rows of what the killed one came to, beside the quiet one."""
    ours, theirs = losses(killed), losses(quiet)
    if not [s for s, _ in ours] == [s for s, _ in theirs] == list(range(1, steps + 1)):
        raise BenchmarkBroken(f"the fold counts the steps {[s for s, _ in ours]}")
    worst = max(abs(a - b) for (_, a), (_, b) in zip(ours, theirs, strict=True))
    yield Row(NAMES[0], worst, 1e-6, "", digits=7)
    apart, size = bytes_apart(quiet, killed)
    yield Row(NAMES[1], size - apart, size, "", more_is_better=True, digits=0)
    hits, whom = Counter(k.hit for k in kills), Counter(k.whom for k in kills)
    again = len(killed.of_kind("step")) - steps
    yield Note(
        f"{len(kills)} times SIGKILL: {hits['checkpoint']} in a checkpoint, {hits['step']} in a step; "
        f"{whom['worker']} of the worker, {whom['supervisor']} of the supervisor; {again} steps computed "
        f"again, each of {steps} counted once"
    )
    moments = Counter(kill.moment for kill in kills if kill.moment in killing.MOMENTS)
    yield Note(f"of a checkpoint: {', '.join(f'{name} {count}' for name, count in moments.items())}")


def losses(run: Run) -> list[tuple[int, Any]]:
    """Step and loss as the fold has them: a step that it counted twice is twice in here."""
    return run.course().figures["loss"]


def bytes_apart(quiet: Run, killed: Run) -> tuple[int, int]:
    """Of the last checkpoints' weights: bytes that differ, of how many."""
    ours, theirs = (
        (checkpoints.folder(run.folder) / checkpoints.whole(run.folder)[-1].name / WEIGHTS).read_bytes()
        for run in (killed, quiet)
    )
    apart = abs(len(ours) - len(theirs)) + sum(a != b for a, b in zip(ours, theirs, strict=False))
    return apart, len(theirs)
