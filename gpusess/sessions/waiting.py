"""Waiting with a limit that holds a sleeping laptop: hours that passed while nobody was awake are no
waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CALL_ALLOWANCE = 120.0
"""Seconds that a round may take beyond its pause: what a call with its tries can last, and no more."""


class Wait:
    """One wait. `clock` gives seconds since the epoch; it may jump."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Any]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._last = clock()
        self.elapsed = 0.0
        """Seconds that were waited, calls included: what limits are held against."""
        self.slept = 0.0
        """Seconds that were certainly waited: what may be concluded from."""

    async def pause(self, seconds: float) -> None:
        """Sleep, and count it."""
        await self._sleep(seconds)
        now = self._clock()
        self.elapsed += min(max(now - self._last, seconds), seconds + CALL_ALLOWANCE)
        self.slept += seconds
        self._last = now
