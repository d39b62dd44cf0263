"""Trainings as they lie on disk: a GRPO run that collapses, and a supervised one that goes well. Their numbers
follow formulas; nothing is random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .world import NOW, OFFER_H100, S, World, heartbeats

Record = dict[str, Any]
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACE = 9.0
"""Seconds a step."""


def noise(step: int, salt: int) -> float:
    """Between -1 and 1, the same each time."""
    return math.sin(step * 12.9898 + salt * 78.233) * 43758.5453 % 2 - 1


def grpo_figures(step: int, turn: int) -> dict[str, float | None]:
    """A run that learns until the step `turn`, and then collapses into one answer."""
    worse = max(0, step - turn) / 14
    return {
        "loss": 0.012 + 0.01 * noise(step, 1) + 0.4 * worse**2,
        "lr": 2e-5,
        "grad_norm": 0.5 + 0.12 * noise(step, 2) + 3.0 * worse**2,
        "reward": max(0.0, 0.22 + 0.4 * (1 - math.exp(-step / 60)) + 0.05 * noise(step, 3) - 0.6 * worse),
        "reward_std": max(0.0, 0.31 + 0.03 * noise(step, 4) - 0.3 * worse),
        "kl": 0.003 * step**0.7 + 0.01 * abs(noise(step, 5)) + 7.0 * worse**2,
        "entropy": max(0.01, 1.9 - 0.004 * step + 0.05 * noise(step, 6) - 1.4 * worse),
        "ratio": 1.0 + 0.02 * noise(step, 7) + 0.5 * worse**2,
        "clip_fraction": min(1.0, 0.06 + 0.03 * abs(noise(step, 8)) + 0.5 * worse),
        "length": 118 + 9 * noise(step, 9) + 130 * min(1.0, worse),
        "clipped": min(1.0, 0.04 + 0.02 * abs(noise(step, 10)) + 0.6 * worse),
        "logprob": -1.1 - 0.05 * noise(step, 11) - 2.0 * worse,
        "repetition": min(0.97, 0.03 + 0.01 * abs(noise(step, 12)) + 0.45 * worse),
        "no_signal": 0.125 if worse < 1 else 0.5,
        "tokens_per_second": 1840 + 60 * noise(step, 13),
    }


def grpo(
    steps: int, done: int, turn: int, start: float, *, action: str = "alarm"
) -> Iterator[tuple[float, Record]]:
    """The journal; a finding of the guard stands where the real guard finds it (see test_train.py)."""
    guard = {"action": action}
    settings = {"method": "grpo", "lr": 2e-5, "kl": 0.04, "generations": 8, "guard": guard, "save_every": 25}
    yield start, {"kind": "opened", "attempt": 1, "pid": 4711, "agent": "8f3a21", "repaired": 0}
    yield start - 3, {"kind": "phase", "name": "preflight", "detail": "rows"}
    yield start - 5, {
        "kind": "train_planned", "method": "grpo", "steps": steps, "rows": 800, "tokens": 0, "counted": 0,
        "trainable": 4_884_480, "parameters": 139_400_064, "plan_sha": "ab", "data": "problems.jsonl",
        "model": MODEL, "dtype": "bfloat16", "settings": settings,
    }  # fmt: skip
    yield start - 6, {"kind": "phase", "name": "train", "detail": f"step 0 of {steps}"}
    yield start - 20, evaluated(0, 11)
    tokens = 0
    for step in range(1, done + 1):
        at = start - 20 - PACE * step
        figures = grpo_figures(step, turn)
        tokens += int(figures["length"] or 0) * 32
        yield at, {"kind": "step", "step": step, "tokens": tokens, "figures": figures}
        if step % 50 == 0:
            yield at, evaluated(step, min(40, 11 + step // 9) if step <= turn else 14)
        if step % 25 == 0:
            yield at, saved(step)


def evaluated(step: int, right: int) -> Record:
    verdicts = {f"q{i}": "right" if i * 37 % 64 < right else "wrong" for i in range(64)}
    return {
        "kind": "evaluated", "step": step, "task": "word_problems", "samples": 64, "right": right,
        "reasons": {"parsed": 60, "unparsed": 4}, "disagree": 0, "seconds": 6.0, "verdicts": verdicts,
    }  # fmt: skip


def saved(step: int) -> Record:
    return {
        "kind": "saved",
        "step": step,
        "name": f"step-{step:06d}",
        "bytes": 41 << 20,
        "sha": "c",
        "seconds": 1.2,
    }


def collapsing(world: World, *, done: int = 171, turn: int = 150) -> str:
    """A session with a GRPO run that has collapsed a few steps ago and goes on: its guard only raises alarms."""
    way = [
        (S.REQUESTED, 1900),
        (S.LAUNCHING, 1899),
        (S.BOOTING, 1880),
        (S.CONNECTING, 1790),
        (S.PREPARING, 1780),
    ]
    way += [(S.READY, 1700), (S.RUNNING, 1690)]
    world.session(
        "s-ember", "ember-lark", way, ["grpo-math"],
        offer=OFFER_H100, price=2.49, launched=NOW - 1899, instance_id="i-5",
    )  # fmt: skip
    world.store.update_run("s-ember-0", status="running", started=NOW - 1690)
    world.drive("s-ember")
    world.write(
        "s-ember", "s-ember-0", "journal.jsonl", list(guarded(grpo(400, done, turn, 25 + PACE * done)))
    )
    world.write("s-ember", "s-ember-0", "events.jsonl", list(heartbeats(1690, 1, every=10)))
    return "s-ember"


def guarded(records: Iterator[tuple[float, Record]]) -> Iterator[tuple[float, Record]]:
    """The records, with those that the guard adds: it is the real one."""
    from remote_agent.training.guard import Guard, Limits

    guard = Guard(Limits())
    for at, record in records:
        yield at, record
        if record["kind"] == "step":
            for finding in guard.see(record["step"], record["figures"]):
                yield at, {
                    "kind": "guarded", "step": finding.step, "rule": finding.rule, "message": finding.message,
                    "action": "alarm", "to_step": None, "lr_factor": 1.0,
                }  # fmt: skip


def supervised(world: World, *, done: int = 60) -> str:
    """A session whose supervised run is complete."""
    way = [(S.REQUESTED, 5000), (S.LAUNCHING, 4999), (S.BOOTING, 4990), (S.CONNECTING, 4800)]
    way += [(S.PREPARING, 4790), (S.READY, 4710), (S.RUNNING, 4700), (S.DRAINING, 4100)]
    way += [(S.TERMINATING, 4010), (S.TERMINATED, 4000)]
    world.session(
        "s-fawn", "fawn-wren", way, ["sft"],
        offer=OFFER_H100, price=2.49, launched=NOW - 4999, ended=NOW - 4000, instance_id="i-6",
    )  # fmt: skip
    world.store.update_run("s-fawn-0", status="complete", started=NOW - 4700, ended=NOW - 4110)
    world.write("s-fawn", "s-fawn-0", "journal.jsonl", list(sft(done, 4690)))
    return "s-fawn"


def sft(steps: int, start: float) -> Iterator[tuple[float, Record]]:
    yield start, {"kind": "opened", "attempt": 1, "pid": 1, "agent": "8f3a21", "repaired": 0}
    pieces = [
        ("<|im_start|>", False),
        ("user\n", False),
        ("2 + 3?", False),
        ("<|im_end|>", False),
        ("\n", False),
    ]
    pieces += [
        ("<|im_start|>", False),
        ("assistant\n", False),
        ("5", True),
        ("\n#### 5", True),
        ("<|im_end|>", True),
    ]
    for i in range(3):
        yield start - 1, {"kind": "seen", "row": f"row {i}", "pieces": pieces, "truncated": False}
    yield start - 2, {
        "kind": "train_planned", "method": "sft", "steps": steps, "rows": 800, "tokens": 96_000, "counted": 41_000,
        "trainable": 4_884_480, "parameters": 139_400_064, "plan_sha": "cd", "data": "problems.jsonl",
        "model": MODEL, "dtype": "bfloat16", "settings": {"method": "sft", "lr": 5e-4},
    }  # fmt: skip
    yield start - 3, evaluated(0, 9)
    for step in range(1, steps + 1):
        lr = 5e-4 * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        loss = 0.4 + 1.2 * math.exp(-step / 15) + 0.04 * noise(step, 1)
        figures = {
            "loss": loss,
            "lr": lr,
            "grad_norm": 0.9 + 0.2 * noise(step, 2),
            "tokens_per_second": 5200.0,
        }
        yield start - PACE * step, {"kind": "step", "step": step, "tokens": step * 1600, "figures": figures}
        if step % 20 == 0:
            yield start - PACE * step, evaluated(step, 9 + step // 3)
            yield start - PACE * step, saved(step)
    yield start - PACE * steps - 3, {"kind": "finished", "outcome": "complete", "message": ""}
