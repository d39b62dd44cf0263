"""A training in words and in facts, for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpusess.analysis.intervals import wilson
from gpusess.analysis.text import clean
from gpusess.analysis.training_state import Evaluation, Shown, Steer, TrainState

SHOWN = ("loss", "reward", "kl", "ratio", "entropy", "lr", "tokens_per_second")
"""Figures of a progress line, those that the method has."""


def figures_text(train: TrainState) -> str:
    """The newest figures: `loss 0.412  lr 0.0005`."""
    found = ((name, train.latest(name)) for name in SHOWN if train.figures.get(name))
    return "  ".join(f"{name} {'not finite' if value is None else f'{value:.4g}'}" for name, value in found)


def evaluation_text(evaluation: Evaluation) -> str:
    """`step 40: 31.2 % (18.0 - 48.6, 10 of 32)`."""
    share = 100 * evaluation.right / max(1, evaluation.samples)
    low, high = wilson(evaluation.right, evaluation.samples)
    band = f"{100 * low:.1f} - {100 * high:.1f}"
    return f"step {evaluation.step}: {share:.1f} % ({band}, {evaluation.right} of {evaluation.samples})"


def shown_lines(row: Shown) -> Iterator[str]:
    """A row as the model sees it, token by token: `|` ends a token, and what counts for the loss stands in
    `[ ]`."""
    yield f"row {clean(row.row)} as the model sees it; what counts for the loss is in [ ]:"
    pieces = [(clean(text.replace("\n", "⏎")), counts) for text, counts in row.pieces]
    parts = [f"[{text}]" if counts else f"{text}|" for text, counts in pieces]
    yield "".join(parts) + ("…" if row.truncated else "")


def steer_text(steer: Steer) -> str:
    """What its user has asked for, and where it was done: `step 67: back to step 50, lr x 0.5`."""
    if steer.action == "rollback":
        return f"step {steer.step}: back to step {steer.to_step}, lr x {steer.lr_factor:g}"
    if steer.action == "ignore":
        return f"step {steer.step}: alarms are ignored up to step {steer.until}"
    return f"step {steer.step}: paused at a checkpoint"


def training_lines(train: TrainState) -> list[str]:
    """What a summary says of it."""
    lines = [f"steps     {train.step} of {train.steps}: {figures_text(train)}"]
    if train.evaluations:
        lines.append(f"before    {evaluation_text(train.evaluations[0])}")
    if len(train.evaluations) > 1:
        lines.append(f"now       {evaluation_text(train.evaluations[-1])}, 95% Wilson")
        assert train.best is not None
        if train.best is not train.evaluations[-1]:
            lines.append(f"best      {evaluation_text(train.best)}")
    lines += [
        f"COLLAPSE  step {c.step}, {clean(c.rule)}: {clean(c.message)}: {c.action}" for c in train.collapses
    ]
    lines += [f"asked     {steer_text(steer)}" for steer in train.steers]
    if train.checkpoints:
        lines.append(f"saved     {', '.join(clean(c.name) for c in train.checkpoints[-3:])}")
    return lines


def training_facts(train: TrainState | None) -> dict[str, Any] | None:
    """The same for a program."""
    if train is None:
        return None
    return {
        "method": train.method,
        "step": train.step,
        "steps": train.steps,
        "tokens": train.tokens,
        "figures": {name: train.latest(name) for name in train.figures},
        "evaluations": [
            {
                "step": e.step,
                "right": e.right,
                "samples": e.samples,
                "wilson95": list(wilson(e.right, e.samples)),
            }
            for e in train.evaluations
        ],
        "checkpoints": [c.name for c in train.checkpoints],
        "collapses": [
            {"step": c.step, "rule": c.rule, "message": c.message, "action": c.action}
            for c in train.collapses
        ],
        "steered": [steer._asdict() for steer in train.steers],
        "exported": train.exported,
    }
