"""Files on their way home: blocks over several channels, verified, beside the place until all are here.

A transfer that was cut off goes on from its part; of a file that is here in an older version only the blocks
that differ come. Whether a name may be written to is decided by whoever calls (`fetch.py` for folders).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpusess.errors import SyncError, Unreachable
from gpusess.sync.progress import Progress
from gpusess.sync.wire import Answer, Channel, Channels
from remote_agent.syncing import blocks, frames
from remote_agent.syncing.store import clone

PART = ".gpusess-part-"
"""What the name of a part begins with, before the hash of the file's name."""
SEGMENT = 16
"""Blocks that are asked for at once over a single channel."""
SHARES = 8
"""Segments for each channel at the least where there are several: a slow one then holds up the end less."""
UNDER_WAY = 3
"""Segments that a channel is asked for before the first has come."""
TRIES = 3
"""How often a file is begun again that is written to meanwhile."""
MARGIN = 64 << 20
"""Bytes of this disk that are left to others."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A file that is at home now."""

    path: Path
    size: int
    mtime: int
    """Nanoseconds, the instance's; a file that was written has it too."""
    identity: str
    received: int
    """Bytes of the blocks that came; the others were here."""


async def pull_file(
    remote: str,
    local: Path,
    channels: Channels,
    progress: Progress | None = None,
    *,
    durable: bool = True,
    size: int | None = None,
) -> Pulled:
    """Bring a file home, whole or not at all. `remote`: absolute, or relative to the instance's home folder.

    `durable`: force it to the disk before it takes its name. `size`: what it must have, where the caller
    knows; with another one nothing is written.

    Raises SyncError (it is not there, is no file, goes on changing; no room here) and Unreachable: the part
    stays, and the next call goes on with it.
    """
    progress = progress or Progress()
    for _ in range(TRIES):
        target = await asyncio.to_thread(_Target, local)
        try:
            done = await _Pull(remote, target, channels, progress, size).run()
            if done is not None:
                await asyncio.to_thread(target.finish, done.mtime, durable)
                return done
        finally:
            target.close()
    raise SyncError(f"{remote}: goes on changing while it is fetched", "try again when nothing writes to it")


class _Target:
    """The file here: its part, which is made when the first block has to be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f"{PART}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:20]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = -1
        self._opening = threading.Lock()
        if self.part.exists():
            self._open()

    def prepare(self, size: int) -> list[bytes]:
        """The digests of what is here of a file of that size. Raises SyncError: there is no room for it."""
        if self._handle < 0 and self.path.is_file():
            here = self.path.stat().st_size
            with self.path.open("rb") as file:
                known = blocks.digests(file.fileno(), here)
            if here == size:
                return known
        self._check_room(size)
        self._open()
        os.ftruncate(self._handle, size)
        return blocks.digests(self._handle, size)

    def write(self, index: int, data: bytes, expected: bytes) -> None:
        """Verify a block and write it. Raises SyncError, OSError."""
        if blocks.digest(data) != expected:
            raise SyncError(
                f"{self.path.name}: block {index} arrived damaged: its hash differs", "fetch it again"
            )
        with self._opening:  # Nobody writes while the older version is still being copied.
            if self._handle < 0:
                self._check_room(self.path.stat().st_size)
                self._open()
        view, at = memoryview(data), index * blocks.BLOCK
        while view:
            done = os.pwrite(self._handle, view, at)
            view, at = view[done:], at + done

    def finish(self, mtime: int, durable: bool) -> None:
        """Give the part its name."""
        if self._handle < 0:
            return
        os.fchmod(self._handle, 0o644)
        os.utime(self._handle, ns=(mtime, mtime))
        if durable:
            os.fsync(self._handle)
        self.part.replace(self.path)
        if durable:
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> None:
        """The part; a new one begins as a copy of the older version that is here."""
        with suppress(FileExistsError):
            self._handle = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            if self.path.is_file() and not self.path.is_symlink():
                clone(self.path, self._handle, self.path.stat().st_size)
            return
        self._handle = os.open(self.part, os.O_RDWR | os.O_NOFOLLOW)

    def _check_room(self, size: int) -> None:
        found = os.statvfs(self.path.parent)
        there = self.part.stat().st_blocks * 512 if self.part.exists() else 0
        free = found.f_bavail * found.f_frsize - MARGIN
        if size - there > free:
            raise SyncError(
                f"{self.path}: {size} bytes are to come, and this disk has room for {max(0, free)}",
                "free some space here",
            )


class _Pull:
    """One try."""

    def __init__(
        self, remote: str, target: _Target, channels: Channels, progress: Progress, expected: int | None
    ) -> None:
        self._remote = remote
        self._expected = expected
        self._target = target
        self._channels = channels
        self._progress = progress
        self._facts: tuple[int, int, int] | None = None
        self._digests: list[bytes] = []
        self._waiting: deque[range] = deque()
        self._received = 0
        self._changed = False

    async def run(self) -> Pulled | None:
        """None: the file was changed meanwhile."""
        first = await self._channels.channel(0)
        await self._receive(range(0), await self._ask(first, range(0)))
        assert self._facts
        size, mtime, _ = self._facts
        if self._expected not in (None, size):
            raise SyncError(
                f"{self._remote}: has {size} bytes on the instance; {self._expected} were expected"
            )
        self._progress.expect(size)
        self._digests = await asyncio.to_thread(self._target.prepare, size)
        wanted = self._channels.wanted(size)
        segment = SEGMENT if wanted == 1 else max(1, min(SEGMENT, blocks.count(size) // (SHARES * wanted)))
        for start in range(0, blocks.count(size), segment):
            self._waiting.append(range(start, min(start + segment, blocks.count(size))))
        await self._fetch(wanted)
        if self._waiting and not self._changed:  # what a broken channel has left
            await self._fetch(1)
        if self._changed:
            return None
        self._progress.spare(size - self._received)
        return Pulled(self._target.path, size, mtime, blocks.identity(self._digests), self._received)

    async def _fetch(self, channels: int) -> None:
        workers = [asyncio.create_task(self._work(number)) for number in range(channels)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, number: int) -> None:
        """Fetch segments over one channel until there are no more. What it cannot finish is left waiting."""
        under_way: deque[tuple[range, Answer]] = deque()
        segment = range(0)
        try:
            channel = await self._channels.channel(number)
            while under_way or (self._waiting and not self._changed):
                while self._waiting and not self._changed and len(under_way) < UNDER_WAY:
                    segment = self._waiting.popleft()
                    under_way.append((segment, await self._ask(channel, segment)))
                await self._receive(*under_way[0])
                under_way.popleft()
        except Unreachable:
            if number == 0:
                raise
            left = [item for item, _ in under_way]
            self._waiting.extend(left if segment in left or not segment else [*left, segment])
        finally:
            for _, answer in under_way:
                answer.abandon()

    async def _ask(self, channel: Channel, segment: range) -> Answer:
        held = b"".join(self._digests[segment.start : segment.stop])
        return await channel.send(
            "read", held, path=self._remote, first=segment.start, count=len(segment), codec=channel.codec
        )

    async def _receive(self, segment: range, answer: Answer) -> None:
        ended = False
        while not ended:
            came: list[_Block] = []
            for header, payload in (await answer.next(), *answer.ready()):
                ended = self._hear(segment, header, payload, came) or ended
            if came:
                await self._take(came)

    def _hear(self, segment: range, header: dict[str, Any], payload: bytes, came: list[_Block]) -> bool:
        """One frame of an answer, its block to `came`; whether it is the last one. Raises SyncError."""
        try:
            if "size" in header:
                facts = (int(header["size"]), int(header["mtime"]), int(header["inode"]))
                if not 0 <= facts[0] < _LONGEST:
                    raise ValueError(facts[0])
                self._changed = self._changed or self._facts not in (None, facts)
                self._facts = facts
            elif "i" in header:
                came.append(self._block(segment, header, payload))
        except (KeyError, ValueError, TypeError) as error:
            raise SyncError(f"{self._remote}: the agent's answer makes no sense ({error!r:.80})") from None
        self._changed = self._changed or bool(header.get("changed"))
        return not header.get("more")

    def _block(self, segment: range, header: dict[str, Any], payload: bytes) -> _Block:
        index, codec = int(header["i"]), str(header["codec"])
        expected = bytes.fromhex(str(header["h"]))
        if index not in segment or codec not in frames.codecs() or len(expected) != blocks.DIGEST:
            raise SyncError(f"{self._remote}: the agent sent a block that nobody asked for")
        return index, expected, codec, payload

    async def _take(self, came: list[_Block]) -> None:
        """Verify and write blocks off the event loop, several in a row: handing over takes time."""

        def write() -> int:
            size = 0
            for index, expected, codec, payload in came:
                data = frames.codecs()[codec][1](payload, blocks.BLOCK) if codec != "none" else payload
                self._target.write(index, data, expected)
                size += len(data)
            return size

        try:
            size = await asyncio.to_thread(write)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SyncError(f"{self._target.part}: cannot be written: {reason}") from None
        except frames.BadFrame as error:
            raise SyncError(f"{self._remote}: {error}") from None
        for index, expected, *_ in came:
            self._digests[index] = expected
        self._received += size
        self._progress.send(size)


_LONGEST = 1 << 50
"""Bytes of a file that are believed."""
_Block = tuple[int, bytes, str, bytes]
"""Index, digest, codec, payload."""
