"""What the checks share: how a finding is made, and what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from remote_agent.protocol import Check
from remote_agent.tasks.base import Sample

MIB = 1 << 20
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What the checks of the prompts look at. `texts` and `lengths` (tokens) are in the samples' order."""

    samples: Sequence[Sample]
    texts: Sequence[str]
    lengths: Sequence[int]


def check(name: str, status: Status, message: str) -> Check:
    return Check(name=name, status=status, message=message)
