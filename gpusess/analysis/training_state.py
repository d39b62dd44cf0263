"""The state of a training as a fold over its records: its figures, evaluations, checkpoints and alarms.

After a rollback, or a worker that went on from an earlier checkpoint, what came after that step is taken
back: the figures are those of the course that led to the newest weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Record = dict[str, Any]


class Evaluation(NamedTuple):
    """The task's result in the middle of training."""

    step: int
    samples: int
    right: int
    disagree: int
    reasons: dict[str, int]
    verdicts: dict[str, str]


class Checkpoint(NamedTuple):
    step: int
    name: str
    bytes: int


class Collapse(NamedTuple):
    """What the collapse guard has found, and what was done about it."""

    step: int
    rule: str
    message: str
    action: str
    to_step: int | None


class Steer(NamedTuple):
    """What its user has asked of the training, and was done at the end of a step."""

    id: str
    step: int
    action: str
    to_step: int | None
    lr_factor: float
    until: int | None
    """For `ignore`: the last step at which the guard finds nothing."""


class Shown(NamedTuple):
    """A row as the model sees it: the text of each token, and whether it counts for the loss."""

    row: str
    pieces: tuple[tuple[str, bool], ...]
    truncated: bool


@dataclass(slots=True)
class TrainState:
    """All that is shown of a training."""

    method: str = ""
    task: str = ""
    step: int = 0
    steps: int = 0
    rows: int = 0
    tokens: int = 0
    """Trained on so far."""
    counted: int = 0
    """Tokens of all rows that count for the loss."""
    row_tokens: int = 0
    trainable: int = 0
    parameters: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, list[tuple[int, float | None]]] = field(default_factory=dict)
    """Name → (step, value), steps rising; None where it was not a finite number."""
    evaluations: list[Evaluation] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    collapses: list[Collapse] = field(default_factory=list)
    steers: list[Steer] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    exported: str = ""
    """The name of the folder with the whole trained model."""
    continued: int = 0
    """How often a worker went on from a checkpoint."""

    @property
    def right(self) -> int:
        return self.evaluations[-1].right if self.evaluations else 0

    @property
    def evaluated(self) -> int:
        """Samples of the newest evaluation."""
        return self.evaluations[-1].samples if self.evaluations else 0

    @property
    def best(self) -> Evaluation | None:
        """The evaluation with the highest accuracy, the earlier of equals."""
        return max(self.evaluations, key=lambda e: (e.right / max(1, e.samples), -e.step), default=None)

    @property
    def open_alarms(self) -> list[Collapse]:
        """The guard's findings since it, or the user, last did something about one."""
        answered = max((steer.step for steer in self.steers), default=-1)
        found: list[Collapse] = []
        for collapse in self.collapses:
            if collapse.action == "rollback":
                found = []
            elif collapse.step > answered:
                found.append(collapse)
        return found

    @property
    def alarm(self) -> Collapse | None:
        """The newest of them."""
        found = self.open_alarms
        return found[-1] if found else None

    def latest(self, name: str) -> float | None:
        values = self.figures.get(name)
        return values[-1][1] if values else None

    def back_to(self, step: int) -> None:
        """Take back what came after a step."""
        self.step = min(self.step, step)
        self.figures = {n: [v for v in values if v[0] <= step] for n, values in self.figures.items()}
        self.evaluations = [e for e in self.evaluations if e.step <= step]
        self.checkpoints = [c for c in self.checkpoints if c.step <= step]


def _planned(state: TrainState, r: Record) -> None:
    state.method, state.steps, state.rows = r["method"], r["steps"], r["rows"]
    state.row_tokens, state.counted = r["tokens"], r["counted"]
    state.trainable, state.parameters, state.settings = r["trainable"], r["parameters"], r["settings"]


def _seen(state: TrainState, r: Record) -> None:
    pieces = tuple((str(text), bool(counts)) for text, counts in r["pieces"])
    state.shown.append(Shown(r["row"], pieces, r["truncated"]))


def _step(state: TrainState, r: Record) -> None:
    state.step, state.tokens = r["step"], r.get("tokens", 0)
    for name, value in r["figures"].items():
        state.figures.setdefault(name, []).append((r["step"], value))


def _evaluated(state: TrainState, r: Record) -> None:
    state.task = r["task"]
    state.evaluations.append(
        Evaluation(r["step"], r["samples"], r["right"], r["disagree"], r["reasons"], r["verdicts"])
    )


def _saved(state: TrainState, r: Record) -> None:
    state.checkpoints.append(Checkpoint(r["step"], r["name"], r["bytes"]))


def _exported(state: TrainState, r: Record) -> None:
    state.exported = r["name"]


def _guarded(state: TrainState, r: Record) -> None:
    state.collapses.append(Collapse(r["step"], r["rule"], r["message"], r["action"], r["to_step"]))
    if r["action"] == "rollback":
        state.back_to(r["to_step"])


def _steered(state: TrainState, r: Record) -> None:
    factor, until = r.get("lr_factor", 1.0), r.get("until")
    state.steers.append(Steer(r["id"], r["step"], r["action"], r.get("to_step"), factor, until))
    if r["action"] == "rollback":
        state.back_to(r["to_step"])


def _continued(state: TrainState, r: Record) -> None:
    state.continued += 1
    state.back_to(r["step"])


HANDLERS: dict[str, Callable[[TrainState, Record], None]] = {
    "train_planned": _planned,
    "seen": _seen,
    "step": _step,
    "evaluated": _evaluated,
    "saved": _saved,
    "exported": _exported,
    "guarded": _guarded,
    "steered": _steered,
    "continued": _continued,
}
