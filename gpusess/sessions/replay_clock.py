"""The clock of a replay: it runs between the first and the last moment of what was recorded, at a chosen
speed, stands still, and jumps. Pure: the real clock comes in.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SPEEDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds of the recording in a second; others may be given at the start."""


class ReplayClock:
    """Called, it says the moment in the recording (seconds since the epoch), from `start` to `end`."""

    def __init__(
        self, start: float, end: float, speed: float = 10.0, real: Callable[[], float] = time.monotonic
    ) -> None:
        self.start = start
        self.end = max(start, end)
        self.speed = speed
        self.paused = False
        self._real = real
        self._at = start
        self._since = real()

    def __call__(self) -> float:
        gone = 0.0 if self.paused else (self._real() - self._since) * self.speed
        return min(self.end, self._at + gone)

    @property
    def at_end(self) -> bool:
        return self() >= self.end

    def seek(self, moment: float) -> None:
        """Go on from that moment, or from the end of the recording that is nearer."""
        self._at, self._since = min(self.end, max(self.start, moment)), self._real()

    def toggle(self) -> None:
        """Stand still, or go on; at the end: begin again."""
        if self.at_end:
            self.seek(self.start)
            self.paused = False
            return
        self.seek(self())
        self.paused = not self.paused

    def change_speed(self, step: int) -> None:
        """The next higher or lower of SPEEDS."""
        self.seek(self())
        if step > 0:
            self.speed = next((s for s in SPEEDS if s > self.speed), self.speed)
        else:
            self.speed = next((s for s in reversed(SPEEDS) if s < self.speed), self.speed)
