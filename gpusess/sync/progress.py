"""How far a transfer has come: bytes, rate and the time that is left. Drawing it is the caller's part."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW = 8.0
"""Seconds over which the rate is taken."""


class Progress:
    """Bytes of a transfer. `on_change` is called as they come; it decides how often it draws."""

    def __init__(
        self, on_change: Callable[[Progress], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = 0
        """Bytes that the transfer is about, as far as is known."""
        self.sent = 0
        """Of these, bytes of files that went over the link (before compression)."""
        self.spared = 0
        """Bytes that the other side had."""
        self._on_change = on_change
        self._clock = clock
        self._moments: deque[tuple[float, int]] = deque([(clock(), 0)])

    def expect(self, size: int) -> None:
        self.total += size
        self._tell()

    def send(self, size: int) -> None:
        self.sent += size
        now = self._clock()
        self._moments.append((now, self.sent))
        while len(self._moments) > 2 and now - self._moments[0][0] > WINDOW:
            self._moments.popleft()
        self._tell()

    def spare(self, size: int) -> None:
        self.spared += size
        self._tell()

    @property
    def rate(self) -> float:
        """Bytes a second, lately."""
        (then, before), (now, after) = self._moments[0], self._moments[-1]
        return (after - before) / (now - then) if now > then else 0.0

    @property
    def left(self) -> float | None:
        """Seconds to go, as the rate is; None while it is not known."""
        missing = max(0, self.total - self.sent - self.spared)
        return missing / self.rate if self.rate else None

    def _tell(self) -> None:
        if self._on_change:
            self._on_change(self)
