"""When the board is looked at: four times a second while something goes on, once a second when nothing has
come and nobody has pressed a key for a while. An app that rests wakes up for as little as it can.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.app import App

TICK, QUIET_TICK = 0.25, 1.0
"""Seconds between two looks; the same while nothing goes on."""
LATELY = 3.0
"""Seconds without anything from which on nothing goes on."""


class Ticker:
    """Calls `look` for as long as the app lives."""

    def __init__(self, app: App[None], look: Callable[[], None]) -> None:
        self._often = app.set_interval(TICK, look)
        self._rarely = app.set_interval(QUIET_TICK, look, pause=True)
        self._stirred = time.monotonic()
        self.quiet = False

    def stir(self) -> None:
        """Something goes on: news, or a key."""
        self._stirred = time.monotonic()
        if self.quiet:
            self.quiet = False
            self._rarely.pause()
            self._often.reset()  # from now on, not at once: first comes what the key is for

    def rest(self) -> None:
        """A look has brought no news."""
        if not self.quiet and time.monotonic() - self._stirred > LATELY:
            self.quiet = True
            self._often.pause()
            self._rarely.reset()
