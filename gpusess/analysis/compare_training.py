"""A training as a side of a comparison: the verdicts of its newest evaluation, and its settings."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gpusess.analysis.answers import Answers, SampleIndex
from gpusess.analysis.compare import Comparison, Side, compare
from gpusess.analysis.result_frame import Kind
from gpusess.analysis.run_state import RunState
from gpusess.analysis.training_state import Evaluation


def compare_any(sides: Sequence[Side]) -> Comparison:
    """`compare`, where a side may be a training: then the samples of its newest evaluation are held against
    the others'."""
    taken = [training_side(side) if side.state.train else side for side in sides]
    found = compare(taken)
    trainings = [side for side in taken if side.state.train]
    if not trainings:
        return found
    # Which prompts a training's evaluations were asked is not recorded.
    kept = [text for text in found.warnings if "different prompts" not in text]
    kept = [text for text in kept if "different right answers" not in text]
    tasks = {side.label: side.state.task for side in taken}
    if len(set(tasks.values())) > 1:
        said = ", ".join(f"{label} on {task or 'nothing yet'}" for label, task in tasks.items())
        kept.append(f"the tasks differ ({said}): equal names of samples do not make equal samples")
    if len(trainings) < len(taken):
        kept.append(
            "a training is held against an evaluation: whether their prompts are equal is not recorded"
        )
    return Comparison(found.arms, found.against, found.differences, kept)


def training_side(side: Side) -> Side:
    """The training with its newest evaluation's answers in the place of results."""
    state, index = side.state, side.answers.index
    assert state.train is not None
    newest = state.train.evaluations[-1] if state.train.evaluations else None
    answers = answers_of(newest, index) if newest else Answers(index)
    settings = {f"train.{name}": text for name, text in flat(state.train.settings)}
    step = {"evaluated at step": str(newest.step)} if newest else {}
    total = newest.samples if newest else 0
    shown: RunState = replace(state, total=total, settings={**step, **settings, **state.settings})
    return Side(side.label, shown, answers)


def answers_of(evaluation: Evaluation, index: SampleIndex) -> Answers:
    """One answer a sample, as the evaluation found it."""
    answers = Answers(index)
    places = [(index.number(sample), verdict) for sample, verdict in evaluation.verdicts.items()]
    size = max((at for at, _ in places), default=-1) + 1
    answers.graded, answers.right = array("H", bytes(2 * size)), array("H", bytes(2 * size))
    answers.prompts, answers.golds = array("q", bytes(8 * size)), array("q", bytes(8 * size))
    kinds: Counter[Kind] = Counter()
    for at, verdict in places:
        answers.graded[at] = 1
        answers.right[at] = verdict == "right"
        answers.order.append(verdict == "right")
        kind = Kind(verdict, reason="", rule=None, category="", disagree=False, marks=(), finish="")
        kinds[kind] += 1
    answers.kinds = kinds
    return answers


def flat(settings: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """`guard: {kl: 5}` as (`guard.kl`, `5`)."""
    found: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            found += flat(value, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", str(value)))
    return found
