"""A large file on its way to the instance: by blocks, over several channels, each block verified there.

Hashing runs ahead of sending. A block that the other side has (of an older version, or of a transfer that was
cut off) is not sent; what a channel had under way when it broke is sent again over another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gpusess.errors import SyncError, Unreachable
from gpusess.sync.progress import Progress
from gpusess.sync.tree import Changed, opened
from gpusess.sync.wire import Answer, Channel, Channels
from remote_agent.syncing import blocks
from remote_agent.syncing.frames import squeeze

HASHERS = 2
AHEAD = 3
"""Portions that are hashed before it is their turn."""
UNDER_WAY = 6
"""Blocks a single channel may have sent without an answer."""
SHARED = 2
"""The same of each channel where there are several: a slow one then holds up the end less."""

PORTION = 4
"""Blocks that a thread hashes in a row: handing over costs as much as hashing one."""
EARLY = 4 * PORTION
"""Blocks that are kept in memory before it is known what the other side has. Beyond them only hashes are:
looking through an older version there takes a while, and most of it will not have to be sent."""
LATER = "later"
"""Stands for the codec of a block that was hashed and not kept."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """A block, as it is sent. `data` is empty where the other side has it, or it is to be read LATER."""

    index: int
    digest: bytes
    size: int
    codec: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where the file will be, for the other side to find an older version of it."""

    place: str
    path: str


@dataclass
class _Transfer:
    source: Path
    handle: int
    size: int
    key: str
    codec: str
    progress: Progress
    queue: asyncio.Queue[Hashed | None]
    under_way: int
    """Blocks a channel may have sent without an answer."""
    there: list[bytes] | None = None
    """The digests of what the other side has; None until it has said so."""
    again: deque[Hashed] = field(default_factory=deque)
    """Blocks that a channel had under way when it broke."""


async def send_large(source: Path, channels: Channels, to: Place, progress: Progress) -> str:
    """Send a file; its identity, under which the other side has it now.

    Raises SyncError (refused), Changed (it was written to meanwhile), Unreachable (the first channel broke).
    """
    try:
        with opened(source, follow=True) as handle:
            return await _send(handle, source, channels, to, progress)
    except OSError as error:
        raise SyncError(f"{source}: cannot be read: {(error.strerror or str(error)).lower()}") from None


def part_of(source: Path, found: os.stat_result) -> str:
    """The name of a file's part on the other side: the same for as long as nobody writes to the file."""
    return hashlib.sha256(repr((os.fsencode(source.absolute()), _stamp(found))).encode()).hexdigest()[:40]


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_size, found.st_mtime_ns, found.st_ino)


async def _send(handle: int, source: Path, channels: Channels, to: Place, progress: Progress) -> str:
    found = os.fstat(handle)
    size, key = found.st_size, part_of(source, found)
    first = await channels.channel(0)
    begun = await first.send("begin", key=key, size=size, place=to.place, path=to.path)
    wanted = channels.wanted(size)
    under_way = UNDER_WAY if wanted == 1 else SHARED
    transfer = _Transfer(
        source, handle, size, key, first.codec, progress, asyncio.Queue(2 * wanted), under_way
    )
    hashers = ThreadPoolExecutor(HASHERS)
    producing = asyncio.create_task(_produce(transfer, begun, hashers, wanted))
    workers = [asyncio.create_task(_work(transfer, channels, number)) for number in range(wanted)]
    try:
        await asyncio.gather(producing, *workers)
        digests = producing.result()
    finally:
        for task in (producing, *workers):
            task.cancel()
        await asyncio.gather(producing, *workers, return_exceptions=True)
        # Before the file is closed, since its number may soon stand for another one.
        await asyncio.to_thread(hashers.shutdown, wait=True, cancel_futures=True)
    for hashed in transfer.again:
        await (await _send_block(transfer, first, hashed)).next()
        progress.send(hashed.size)
    if _stamp(os.fstat(handle)) != _stamp(found):
        raise Changed(str(source))
    header, _ = await first.ask("seal", b"".join(digests), key=key, size=size)
    return str(header["file"])


async def _produce(
    transfer: _Transfer, begun: Answer, hashers: ThreadPoolExecutor, workers: int
) -> list[bytes]:
    """Put the blocks that the other side lacks into the queue; all digests."""
    digests: list[bytes] = []
    early: list[Hashed] = []
    answer = asyncio.create_task(begun.next())
    try:
        if workers > 1:  # A long line is slower than hashing: nothing is gained by hashing twice.
            transfer.there = blocks.split((await answer)[1])
        async for portion in _hash_ahead(transfer, hashers):
            digests += [hashed.digest for hashed in portion]
            early += portion
            if answer.done():
                transfer.there = transfer.there or blocks.split(answer.result()[1])
                await _queue(transfer, early, hashers)
                early = []
        transfer.there = transfer.there or blocks.split((await answer)[1])
        await _queue(transfer, early, hashers)
    finally:
        answer.cancel()
    for _ in range(workers):
        await transfer.queue.put(None)
    return digests


async def _queue(transfer: _Transfer, found: list[Hashed], hashers: ThreadPoolExecutor) -> None:
    """Put what the other side lacks into the queue."""
    loop = asyncio.get_running_loop()
    for hashed in found:
        if _is_there(transfer, hashed.index, hashed.digest):
            transfer.progress.spare(hashed.size)
        elif hashed.codec == LATER:
            again = await loop.run_in_executor(hashers, _hashed, transfer, hashed.index)
            if again.digest != hashed.digest:
                raise Changed(str(transfer.source))
            await transfer.queue.put(again)
        else:
            await transfer.queue.put(hashed)


def _is_there(transfer: _Transfer, index: int, digest: bytes) -> bool:
    there = transfer.there
    return there is not None and index < len(there) and there[index] == digest


def _hashed(transfer: _Transfer, index: int) -> Hashed:
    data = blocks.read_block(transfer.handle, index, transfer.size)
    digest = blocks.digest(data)
    if _is_there(transfer, index, digest):
        return Hashed(index, digest, len(data), "none", b"")
    if transfer.there is None and index >= EARLY:
        return Hashed(index, digest, len(data), LATER, b"")
    return Hashed(index, digest, len(data), *squeeze(data, transfer.codec))


async def _hash_ahead(transfer: _Transfer, hashers: ThreadPoolExecutor) -> AsyncIterator[list[Hashed]]:
    loop = asyncio.get_running_loop()

    def some(first: int) -> list[Hashed]:
        indexes = range(first, min(first + PORTION, blocks.count(transfer.size)))
        return [_hashed(transfer, index) for index in indexes]

    waiting: deque[asyncio.Future[list[Hashed]]] = deque()
    for first in range(0, blocks.count(transfer.size), PORTION):
        waiting.append(loop.run_in_executor(hashers, some, first))
        if len(waiting) > AHEAD:
            yield await waiting.popleft()
    while waiting:
        yield await waiting.popleft()


async def _work(transfer: _Transfer, channels: Channels, number: int) -> None:
    """Send blocks over one channel until there are no more. What it cannot finish is left to `again`."""
    try:
        channel = await channels.channel(number)
    except Unreachable:
        if number == 0:
            raise
        return
    under_way: deque[tuple[Hashed, Answer]] = deque()
    item: Hashed | None = None
    try:
        while (item := await transfer.queue.get()) is not None:
            under_way.append((item, await _send_block(transfer, channel, item)))
            if len(under_way) > transfer.under_way:
                await _answered(transfer, under_way)
        while under_way:
            await _answered(transfer, under_way)
    except Unreachable:
        if number == 0:
            raise
        transfer.again += [hashed for hashed, _ in under_way]
        if item is not None and (not under_way or under_way[-1][0] is not item):
            transfer.again.append(item)


async def _send_block(transfer: _Transfer, channel: Channel, hashed: Hashed) -> Answer:
    facts = {"key": transfer.key, "i": hashed.index, "h": hashed.digest.hex(), "codec": hashed.codec}
    return await channel.send("block", hashed.data, **facts)


async def _answered(transfer: _Transfer, under_way: deque[tuple[Hashed, Answer]]) -> None:
    hashed, answer = under_way[0]
    await answer.next()
    under_way.popleft()
    transfer.progress.send(hashed.size)
