"""Collapses that are caught: a PPO run whose learning rate is absurd, and the course of a recorded one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.generation import model_folder
from benchmarks.machine import BenchmarkBroken
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.train import problems, runs
from remote_agent.journal import Record
from remote_agent.training.guard import Finding, Guard, Limits

STEPS, RATE, SOON = 40, 0.02, 16
"""Steps that are ordered, the learning rate, and the step by which the guard is to have stopped it."""
REWARDS = Path(__file__).with_name("rewards.py")
SHOWN = ("reward", "ratio", "entropy", "logprob", "repetition", "grad_norm")
KNOWN = {99: (1.17, -1.9), 999: (21.75, -41.0)}
"""Of the recorded run: step → mean ratio and log-probability a token. It was paid for until step 6,000."""


def measure(_quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    yield from recorded()
    model = model_folder()
    if isinstance(model, str):
        yield Skipped("ppo at an absurd rate, stopped at step", model)
        return
    with tempfile.TemporaryDirectory(prefix="gpusess-train-") as scratch:
        learned, tested = problems.write(Path(scratch) / "data", 120, 8)
        train = {
            "method": "ppo", "data": {"path": str(learned)}, "steps": STEPS, "batch_size": 4, "lr": RATE,
            "lora": {"r": 16, "alpha": 32}, "generations": 4, "max_new_tokens": 16, "max_grad_norm": 0,
            "warmup": 0, "schedule": "constant", "save_every": STEPS, "eval_every": STEPS,
            "rewards": [{"by": "module", "module": "rewards.py", "function": "digits"}],
        }  # fmt: skip
        run = runs.order(Path(scratch) / "collapse", model, {"path": str(tested)}, train)
        shutil.copy(REWARDS, run.folder)
        run.start()
        try:
            ended = run.wait()
        finally:
            run.stop()
        steps, guarded = run.of_kind("step"), run.of_kind("guarded")
    if ended["outcome"] != "stopped" or len(guarded) != 1:
        raise BenchmarkBroken(f"the guard found nothing; ended {ended['outcome']}: {ended['message']}")
    found = guarded[0]
    yield Row("ppo at an absurd rate, stopped at step", found["step"], SOON, "", digits=0)
    yield Note(f"lr {RATE:g}, rule `{found['rule']}`: {found['message']}; {STEPS} steps were ordered")
    yield Note(f"{_level(steps[0])}; {_level(steps[-1])}")


def recorded() -> Iterator[Line]:
    """The recorded run's two known points; between them its course is taken as geometric and linear."""
    found = _first_finding(999)
    yield Row("recorded collapse, found at step", found.step, max(KNOWN) - 1, "", digits=0)
    yield Note(
        f"rule `{found.rule}`: {found.message}. Known are steps {' and '.join(map(str, KNOWN))} of it; "
        "between them the ratio is taken as geometric, the log-probability as linear"
    )


def _first_finding(last: int) -> Finding:
    guard = Guard(Limits())
    for step in range(last + 1):
        found = guard.see(step, course(step))
        if found:
            return found[0]
    raise BenchmarkBroken(f"the guard found nothing up to step {last}")


def course(step: int) -> dict[str, float]:
    """The recorded run's figures at a step; before the first known one they are that one's."""
    (first, (ratio, logprob)), (last, (end_ratio, end_logprob)) = KNOWN.items()
    part = max(0.0, (step - first) / (last - first))
    return {
        "ratio": ratio * (end_ratio / ratio) ** part,
        "logprob": logprob + (end_logprob - logprob) * part,
    }


def _level(record: Record) -> str:
    figures = record["figures"]
    shown = (f"{name} {figures[name]:.3g}" for name in SHOWN if figures.get(name) is not None)
    return f"step {record['step']}: {', '.join(shown)}"
