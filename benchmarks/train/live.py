"""Reinforcement learning with a reward that can be verified: each step's figures are whole, and whoever
follows the journal sees them while the run goes on.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.generation import model_folder
from benchmarks.machine import BenchmarkBroken
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.train import problems, runs
from gpusess.analysis.training_state import TrainState
from remote_agent.journal import Record

STEPS, QUICK_STEPS = 24, 6
FIGURES = (
    "loss", "lr", "grad_norm", "reward", "reward_std", "kl", "entropy", "ratio", "clip_fraction", "length",
    "clipped", "no_signal", "logprob", "repetition",
)  # fmt: skip
TREND = ("reward", "kl", "entropy", "length", "clipped", "no_signal", "logprob", "repetition", "grad_norm")
LATE = 2.0
"""Seconds from a step's record to its sight."""
NAMES = ("grpo, figures whole and finite", "grpo, a step to its sight, worst")


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    model = model_folder()
    if isinstance(model, str):
        yield from (Skipped(name, model) for name in NAMES)
        return
    steps = QUICK_STEPS if quick else STEPS
    with tempfile.TemporaryDirectory(prefix="gpusess-train-") as scratch:
        learned, tested = problems.write(Path(scratch) / "data", 240, 8)
        train = {
            "method": "grpo", "data": {"path": str(learned)}, "steps": steps, "batch_size": 8, "lr": 1e-4,
            "lora": {"r": 16, "alpha": 32}, "generations": 8, "max_new_tokens": 24, "kl": 0.02,
            "warmup": 0, "schedule": "constant", "save_every": steps, "eval_every": steps,
        }  # fmt: skip
        run = runs.order(Path(scratch) / "grpo", model, {"path": str(tested)}, train)
        run.start()
        try:
            seen = _follow(run, steps)
        finally:
            run.stop()
        course = run.course()
        first, last = run.of_kind("step")[0], run.of_kind("step")[-1]
    found = sum(len(_finite(course, name)) for name in FIGURES)
    yield Row(NAMES[0], found, steps * len(FIGURES), "", more_is_better=True, digits=0)
    yield Row(NAMES[1], max(seen), LATE, "s")
    for name in TREND:
        yield Note(f"{name:<11} {_trend(_finite(course, name))}")
    if course.collapses:
        yield Note(f"the guard: {course.collapses}")
    seconds = (last["ts"] - first["ts"]) / max(1, steps - 1)
    yield Note(f"{steps} steps of 8 answers to one problem, {seconds:.1f} s each; rewarded: right 1, else 0")


def _follow(run: runs.Run, steps: int) -> list[float]:
    """Look at the journal as a follower would until the run ends; how late each step was seen, in seconds."""
    late: dict[int, float] = {}

    def look() -> bool:
        for record in run.of_kind("step"):
            if record["step"] not in late:
                late[record["step"]] = time.time() - record["ts"]
        return False

    ended: Record = run.wait(look)
    if ended["outcome"] != "complete" or len(late) != steps:
        raise BenchmarkBroken(f"{len(late)} of {steps} steps were seen; ended: {ended['message']}")
    return list(late.values())


def _finite(course: TrainState, name: str) -> list[float]:
    return [v for _, v in course.figures.get(name, []) if v is not None and math.isfinite(v)]


def _trend(values: Sequence[float]) -> str:
    """The mean of the first and of the last third, and the range."""
    if not values:
        return "missing"
    third = max(1, len(values) // 3)
    return (
        f"{fmean(values[:third]):8.3f} → {fmean(values[-third:]):8.3f}   "
        f"(min {min(values):.3g}, max {max(values):.3g})"
    )
