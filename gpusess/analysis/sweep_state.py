"""What a sweep's records say of it: its checkpoints, those that were passed over, and which one is at hand.

The counts of each checkpoint are the run state's categories: a sweep's results are counted by checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Record = dict[str, Any]


class Arm(NamedTuple):
    """A checkpoint, or the base model (step 0)."""

    name: str
    step: int
    model: str


class Passed(NamedTuple):
    """A checkpoint that is not evaluated, or not to the end."""

    name: str
    reason: str


@dataclass(slots=True)
class SweepState:
    """All that is shown of a sweep beside its counts."""

    arms: list[Arm] = field(default_factory=list)
    """In the order of their steps."""
    passed_over: list[Passed] = field(default_factory=list)
    current: str = ""
    """The arm of the newest result."""

    @property
    def last_step(self) -> int:
        return max((arm.step for arm in self.arms), default=0)


def arm_of(sample: str) -> str:
    """The arm that a sample's key names: `step-20` of `step-20/q7`."""
    return sample.partition("/")[0]
