"""What a journal says of a training's course so far: a fold over its records, for who takes it up.

After a rollback, and after a worker that went on from an earlier checkpoint, the steps beyond it do not count
any more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from remote_agent.journal import Record


@dataclass
class Course:
    """The course of one training."""

    figures: dict[int, dict[str, float]] = field(default_factory=dict)
    """Step → its figures; NaN for one that was not finite."""
    accuracy: dict[int, float] = field(default_factory=dict)
    """Step → accuracy of the evaluation there."""
    tokens: dict[int, int] = field(default_factory=dict)
    """Step → tokens trained on up to its end."""
    saved: set[str] = field(default_factory=set)
    """Names of the checkpoints that were recorded."""
    lr_factor: float = 1.0
    rollbacks: int = 0
    """Of the guard's own."""
    answered: set[str] = field(default_factory=set)
    """Ids of the user's asks that were done."""
    pardoned: int = -1
    """The last step at which the guard finds nothing, as its user asked."""

    @property
    def trained_on(self) -> int:
        """Tokens so far."""
        return max(self.tokens.values(), default=0)

    @property
    def best(self) -> float | None:
        return max(self.accuracy.values(), default=None)

    def back_to(self, step: int) -> None:
        """Forget what came after a step."""
        self.figures = {s: f for s, f in self.figures.items() if s <= step}
        self.accuracy = {s: a for s, a in self.accuracy.items() if s <= step}
        self.tokens = {s: n for s, n in self.tokens.items() if s <= step}

    def steered(self, record: Record) -> None:
        """Take a `steered` record: what a user asked for."""
        self.answered.add(record["id"])
        if record["action"] == "rollback":
            self.back_to(record["to_step"])
            self.lr_factor = record["lr_factor"]
        elif record["action"] == "ignore":
            self.pardoned = max(self.pardoned, record["until"])


def course_of(records: Iterable[Record]) -> Course:
    """Fold a journal's records."""
    course = Course()
    for record in records:
        kind = record["kind"]
        if kind == "step":
            values = record["figures"]
            course.figures[record["step"]] = {k: math.nan if v is None else v for k, v in values.items()}
            course.tokens[record["step"]] = record.get("tokens", 0)
        elif kind == "saved":
            course.saved.add(record["name"])
        elif kind == "evaluated":
            course.accuracy[record["step"]] = record["right"] / max(1, record["samples"])
        elif kind == "continued":
            course.back_to(record["step"])
        elif kind == "guarded" and record["action"] == "rollback":
            course.back_to(record["to_step"])
            course.rollbacks += 1
            course.lr_factor = record["lr_factor"]
        elif kind == "steered":
            course.steered(record)
    return course
