"""A training in words and in facts, for the command line."""

from __future__ import annotations

from typing import Any

from gpusess.analysis.intervals import wilson
from gpusess.analysis.text import clean
from gpusess.analysis.training_state import Evaluation, TrainState

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
        "exported": train.exported,
    }
