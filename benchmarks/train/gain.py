"""Supervised training with LoRA on worked problems: the accuracy on others that were never trained on rises
beyond its band.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.generation import model_folder
from benchmarks.machine import BenchmarkBroken
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.train import problems, runs
from gpusess.analysis.intervals import wilson
from gpusess.analysis.paired import mcnemar
from remote_agent.journal import Record

LEARNED, HELD_OUT, STEPS = 240, 100, 16
QUICK_HELD_OUT, QUICK_STEPS = 50, 10
CHANCE = 0.001
"""The most that McNemar's p may be."""
WIDTH = 50


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    names = ("held-out accuracy, low end of band", "mcnemar's p of the gain")
    model = model_folder()
    if isinstance(model, str):
        yield from (Skipped(name, model) for name in names)
        return
    held_out, steps = (QUICK_HELD_OUT, QUICK_STEPS) if quick else (HELD_OUT, STEPS)
    with tempfile.TemporaryDirectory(prefix="gpusess-train-") as scratch:
        learned, tested = problems.write(Path(scratch) / "data", LEARNED, held_out)
        train = {
            "method": "sft", "data": {"path": str(learned)}, "steps": steps, "batch_size": 8, "lr": 1e-3,
            "lora": {"r": 16, "alpha": 32}, "save_every": steps, "eval_every": steps // 2,
        }  # fmt: skip
        run = runs.order(Path(scratch) / "gain", model, {"path": str(tested)}, train).complete()
        evaluated, steps_done = run.of_kind("evaluated"), run.of_kind("step")
    first, last = evaluated[0], evaluated[-1]
    if (first["step"], last["step"], last["samples"]) != (0, steps, held_out):
        raise BenchmarkBroken(f"evaluated at {[r['step'] for r in evaluated]}, not from 0 to {steps}")
    gained, lost = flips(first["verdicts"], last["verdicts"])
    p = mcnemar(gained, lost)
    before, after = _band(first), _band(last)
    yield Row(
        names[0],
        100 * after[0],
        100 * before[1],
        "%",
        "peer",
        "untrained, high",
        more_is_better=True,
        digits=1,
    )
    yield Row(names[1], p, CHANCE, "", digits=4)
    for record in evaluated:
        yield Note(_drawn(record))
    seconds = steps_done[-1]["ts"] - steps_done[0]["ts"]
    losses = [record["figures"]["loss"] for record in steps_done]
    yield Note(
        f"{gained} samples gained, {lost} lost, p = {p:.1e}; loss {losses[0]:.3f} → {losses[-1]:.3f}, "
        f"{seconds:.0f} s from the first step to the last, evaluations included"
    )


def flips(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[int, int]:
    """Samples that became right, and that ceased to be."""
    pairs = [(verdict == "right", after[sample] == "right") for sample, verdict in before.items()]
    return pairs.count((False, True)), pairs.count((True, False))


def _band(record: Record) -> tuple[float, float]:
    return wilson(record["right"], record["samples"])


def _drawn(record: Record) -> str:
    """Accuracy and its 95% band, in figures and as a line from 0 to 100%."""
    right, n = record["right"], record["samples"]
    low, high = _band(record)
    line = [" "] * (WIDTH + 1)
    for at in range(round(low * WIDTH), round(high * WIDTH) + 1):
        line[at] = "─"
    line[round(right / n * WIDTH)] = "●"
    text = f"step {record['step']:>3}: {right:>3} of {n} right, {right / n:5.1%} ({low:5.1%} … {high:5.1%})"
    return f"{text} │{''.join(line)}│"
