"""Keeping a provider's rate limit over all processes of this machine: each session has a driver of its own,
and they share one account. A small file for each limit holds the next free moment, under a lock.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gpusess import paths


class Pace:
    """At most one call every `interval` seconds, counted over all processes that use the same `name`.

    name: provider, account and lane, fit for a file's name.
    burst: calls that may come at once after a quiet time.
    """

    def __init__(
        self,
        name: str,
        interval: float,
        burst: int = 1,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = paths.home() / "pace" / name
        self._interval = interval
        self._slack = (burst - 1) * interval
        self._clock = clock
        self._sleep = sleep

    async def turn(self) -> None:
        """Return when it is this call's turn."""
        wait = self._reserve()
        if wait > 0:
            await self._sleep(wait)

    def hold_off(self, seconds: float) -> None:
        """The provider has asked for a pause: nobody on this machine calls before it is over."""
        self._move(lambda now, _next: max(_next, now + seconds))

    def _reserve(self) -> float:
        """Take the next free moment; seconds until it."""
        taken = 0.0

        def take(now: float, free: float) -> float:
            nonlocal taken
            # A moment that lies far ahead was written before the clock was set back: it does not bind.
            if free > now + 3600:
                free = 0.0
            free = max(free, now - self._slack)
            taken = free - now
            return free + self._interval

        self._move(take)
        return taken

    def _move(self, change: Callable[[float, float], float]) -> None:
        file = _open(self._path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            free = _number(os.pread(file, 64, 0))
            new = f"{change(self._clock(), free):.3f}".encode()
            os.pwrite(file, new, 0)
            os.ftruncate(file, len(new))
        finally:
            os.close(file)


def _open(path: Path) -> int:
    paths.private_dir(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _number(data: bytes) -> float:
    try:
        return float(data)
    except ValueError:
        return 0.0
