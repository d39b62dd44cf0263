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
"""Blocks a channel may have sent without an answer."""

PORTION = 4
"""Blocks that a thread hashes in a row: handing over costs as much as hashing one."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """A block, as it is sent. `data` is empty where the other side is known to have it."""

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
    handle: int
    size: int
    key: str
    codec: str
    progress: Progress
    queue: asyncio.Queue[Hashed | None]
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


async def _send(handle: int, source: Path, channels: Channels, to: Place, progress: Progress) -> str:
    found = os.fstat(handle)
    size, stamp = found.st_size, (found.st_size, found.st_mtime_ns, found.st_ino)
    key = hashlib.sha256(repr((os.fsencode(source.absolute()), stamp)).encode()).hexdigest()[:40]
    first = await channels.channel(0)
    begun = await first.send("begin", key=key, size=size, place=to.place, path=to.path)
    wanted = channels.wanted(size)
    transfer = _Transfer(handle, size, key, first.codec, progress, asyncio.Queue(2 * wanted))
    hashers = ThreadPoolExecutor(HASHERS)
    producing = asyncio.create_task(_produce(transfer, begun, _hash_ahead(transfer, hashers), wanted))
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
    after = os.fstat(handle)
    if (after.st_size, after.st_mtime_ns, after.st_ino) != stamp:
        raise Changed(str(source))
    header, _ = await first.ask("seal", b"".join(digests), key=key, size=size)
    return str(header["file"])


async def _produce(
    transfer: _Transfer, begun: Answer, portions: AsyncIterator[list[Hashed]], workers: int
) -> list[bytes]:
    """Put the blocks that the other side lacks into the queue; all digests."""
    digests: list[bytes] = []
    async for portion in portions:
        if transfer.there is None:
            transfer.there = blocks.split((await begun.next())[1])
        for hashed in portion:
            digests.append(hashed.digest)
            if hashed.index < len(transfer.there) and transfer.there[hashed.index] == hashed.digest:
                transfer.progress.spare(hashed.size)
            else:
                await transfer.queue.put(hashed)
    for _ in range(workers):
        await transfer.queue.put(None)
    return digests


async def _hash_ahead(transfer: _Transfer, hashers: ThreadPoolExecutor) -> AsyncIterator[list[Hashed]]:
    loop = asyncio.get_running_loop()

    def one(index: int) -> Hashed:
        data = blocks.read_block(transfer.handle, index, transfer.size)
        digest = blocks.digest(data)
        there = transfer.there
        if there and index < len(there) and there[index] == digest:
            return Hashed(index, digest, len(data), "none", b"")
        return Hashed(index, digest, len(data), *squeeze(data, transfer.codec))

    def some(first: int) -> list[Hashed]:
        return [one(index) for index in range(first, min(first + PORTION, blocks.count(transfer.size)))]

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
            if len(under_way) > UNDER_WAY:
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
