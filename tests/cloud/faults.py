"""The fault layer: what may happen to one call of a simulated cloud, before or after its effect.

It knows no cloud. What a refusal looks like there, and how an error creates an instance, the cloud says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    KILL = "kill"
    """The process `pid` is killed while its call is under way."""
    LOST = "lost"
    """The connection is closed with no answer."""
    RESET = "reset"
    """The connection is reset (RST)."""
    HANG = "hang"
    """No answer, and the connection stays open for as long as the caller waits."""
    TOO_MANY = "429"
    TOO_MANY_PLAIN = "429 plain"
    """429 with plain text in place of JSON."""
    ERROR = "500"
    BAD_GATEWAY = "502"
    """502 with a proxy's HTML."""
    LATE = "late"
    """What a launch makes appears in lists only after `polls` further looks."""
    IGNORED = "ignored"
    """An end is accepted, and nothing happens. `times` times."""
    ERROR_THAT_CREATES = "error that creates"
    """The cloud's own refusal of a launch, and the instance exists all the same."""
    JUMP = "jump"
    """The clock goes ahead by eight hours: a laptop slept."""


BROKEN = (Kind.LOST, Kind.RESET, Kind.HANG, Kind.KILL)
REFUSED = (Kind.TOO_MANY, Kind.TOO_MANY_PLAIN, Kind.ERROR, Kind.BAD_GATEWAY)
JUMP_SECONDS = 8 * 3600.0


@dataclass
class Fault:
    """One fault. It strikes the `nth` matching call after it was armed (0: the first), and `times` - 1 more."""

    kind: str
    op: str = "*"
    """The operation's name; `*`: any."""
    nth: int = 0
    when: str = "before"
    """`before` the call's effect (which then never happens) or `after` it."""
    times: int = 1
    pid: int = 0
    polls: int = 3
    seen: int = 0

    def strikes(self, op: str) -> bool:
        """Count this call; whether it is to be struck."""
        if self.op not in ("*", op):
            return False
        self.seen += 1
        return self.nth < self.seen <= self.nth + self.times

    def mends(self, op: str) -> bool:
        """Whether the kind means something for that operation at all."""
        if self.kind in (Kind.LATE, Kind.ERROR_THAT_CREATES):
            return op == "launch"
        return op == "terminate" if self.kind == Kind.IGNORED else True
