"""Time that a simulated cloud and whoever drives it share: eight bytes in a file that both have mapped."""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import time
from pathlib import Path

START = 1_800_000_000.0
"""What a frozen clock shows at first: seconds since the epoch."""


class SharedClock:
    """Seconds since the epoch. Frozen: it moves only by `advance`; else it runs, and `advance` jumps ahead."""

    def __init__(self, path: Path, frozen: bool | None = None) -> None:
        """frozen None: open the clock that another process has made."""
        if frozen is not None:
            path.write_bytes(struct.pack("=d?", START if frozen else 0.0, frozen))
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), os.fstat(file.fileno()).st_size)
        self.frozen = bool(self._bytes[8])

    def now(self) -> float:
        offset: float = struct.unpack_from("=d", self._bytes)[0]
        return offset if self.frozen else time.time() + offset

    def advance(self, seconds: float) -> None:
        struct.pack_into("=d", self._bytes, 0, struct.unpack_from("=d", self._bytes)[0] + seconds)

    def set(self, now: float) -> None:
        self.advance(now - self.now())

    async def sleep(self, seconds: float) -> None:
        """Stands in for asyncio.sleep where the clock is frozen."""
        self.advance(max(seconds, 0.0))
        await asyncio.sleep(0)
