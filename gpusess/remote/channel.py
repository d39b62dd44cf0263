"""A sync channel: frames to the agent's `sync` process and back, many requests at once over one SSH channel.

What the requests mean is `gpusess.sync`'s part; here they are sent, answered, and ended when the link breaks.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from gpusess.errors import CommandFailed, SyncError, Unreachable
from gpusess.remote.keys import printable
from gpusess.remote.process import RemoteProcess
from gpusess.remote.ssh import CHUNK, Connection
from remote_agent.syncing import frames

NEAR = 0.004
"""Seconds: up to this round trip one connection is as fast as several."""
FAR = 0.02
TRIPS = 4
START_LIMIT = 60.0
"""Seconds for the agent's first word."""
WAITING = 16
"""Frames of one answer in memory; what comes beyond them waits in the channel's window."""
ROOM = 16 << 20
"""Bytes of all answers in memory that nobody has taken. The same holds for what comes beyond them."""
_LIMITS = {
    **dict.fromkeys(("read", "pieces"), frames.BLOCK_LIMIT),
    **dict.fromkeys(("tree", "commit", "begin", "list", "checkpoints"), frames.LIST_LIMIT),
}
"""Bytes of a frame that answers a request; to others there are only headers."""

Frame = tuple[dict[str, Any], bytes]

_HINTS = {
    "space": "free some space on the instance, or take one with a larger disk",
    "damaged": "start the sync again; if it happens again, something on the way damages data",
    "hostile": "a path like this is never written",
    "occupied": "remove it on the instance, or sync to another place",
    "missing": "look with `gpusess ssh`",
}


class _Room:
    """Bytes that have come and that nobody has taken."""

    def __init__(self) -> None:
        self._held = 0
        self._freed = asyncio.Event()

    async def take(self, size: int) -> None:
        """Wait until so many bytes have room; a frame that is longer than all of it waits for all of it."""
        while self._held and self._held + size > ROOM:
            self._freed.clear()
            await self._freed.wait()
        self._held += size

    def give(self, size: int) -> None:
        self._held -= size
        self._freed.set()


class Answer:
    """What comes back to one request. Its frames end with the one that says no more of them follow."""

    def __init__(self, limit: int, room: _Room) -> None:
        self.limit = limit
        """Bytes of a frame that are believed."""
        self._room = room
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue(WAITING)
        self._broken: Unreachable | None = None
        self._abandoned = False

    async def next(self) -> Frame:
        """The next frame. Raises SyncError (the agent refused) and Unreachable."""
        if self._broken and self._frames.empty():
            raise self._broken
        return self._checked(await self._frames.get())

    def ready(self) -> list[Frame]:
        """The frames that are here already, in their order. Raises as `next` does."""
        found: list[Frame] = []
        while not self._frames.empty() and (not found or found[-1][0].get("more")):
            found.append(self._checked(self._frames.get_nowait()))
        return found

    def _checked(self, found: Frame | None) -> Frame:
        if found is None:
            assert self._broken
            raise self._broken
        header, payload = found
        self._room.give(len(payload))
        if "error" in header:
            kind = str(header["error"])
            raise SyncError(printable(str(header.get("message", kind)), 500), _HINTS.get(kind, ""))
        return found

    def abandon(self) -> None:
        """Nobody will ask for the rest: it must not hold back what comes behind it."""
        self._abandoned = True
        self._drop()

    async def add(self, frame: Frame) -> None:
        await self._frames.put(frame)
        if self._abandoned:
            self._drop()

    def _drop(self) -> None:
        while not self._frames.empty():
            if (found := self._frames.get_nowait()) is not None:
                self._room.give(len(found[1]))

    def end(self, broken: Unreachable) -> None:
        """The link broke."""
        self._broken = broken
        with suppress(asyncio.QueueFull):
            self._frames.put_nowait(None)


class Channel:
    """A running `sync` process. All its methods may be used at the same time."""

    def __init__(self, process: RemoteProcess) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, Answer] = {}
        self._room = _Room()
        self._sending = asyncio.Lock()
        self._broken: Unreachable | None = None
        self._said = b""
        self._greeted = False
        self.codec = "none"
        """For payloads, known to both sides."""
        self.sent = 0
        """Bytes that were sent, before encryption."""
        self.round_trip = 0.0
        """Seconds of one request, measured at the start."""

    async def ask(self, op: str, payload: bytes = b"", **facts: Any) -> Frame:
        """One request and its one answer. Raises SyncError, Unreachable."""
        return await (await self.send(op, payload, **facts)).next()

    async def send(self, op: str, payload: bytes | memoryview = b"", **facts: Any) -> Answer:
        """Send a request; returns when it is on its way, with what will be its answer. Raises Unreachable."""
        if self._broken:
            raise self._broken
        number = next(self._ids)
        answer = self._answers[number] = Answer(_LIMITS.get(op, 0), self._room)
        head = frames.encode({"op": op, "id": number, **facts}, payload)
        async with self._sending:
            self.sent += len(head) + len(payload)
            try:
                await self._process.write(head)
                for start in range(0, len(payload), CHUNK):
                    await self._process.write(memoryview(payload)[start : start + CHUNK])
            except CommandFailed as exc:
                raise self._broken or Unreachable("the sync's channel broke") from exc
        return answer

    @property
    def broken(self) -> bool:
        return self._broken is not None

    async def start(self) -> None:
        """Wait for the agent's first word."""
        try:
            async with asyncio.timeout(START_LIMIT):
                header, _ = await self._head()
        except TimeoutError:
            raise Unreachable(f"the agent said nothing for {START_LIMIT:g} s") from None
        if header.get("op") != "hello" or header.get("version") != frames.VERSION:
            raise SyncError("the agent on the instance speaks another version", "terminate and launch again")
        theirs = header.get("codecs")
        known = [name for name in frames.codecs() if isinstance(theirs, list) and name in theirs]
        self.codec = next(iter(known), "none")
        self._greeted = True

    async def measure(self) -> None:
        """Measure the way there and back. A busy machine answers late, and must not pass for a distant one:
        the shortest of a few counts, where one could be either."""
        self.round_trip = math.inf
        for _ in range(TRIPS):
            before = time.monotonic()
            await self.ask("echo")
            self.round_trip = min(self.round_trip, time.monotonic() - before)
            if not NEAR <= self.round_trip < FAR:
                return

    async def read(self) -> None:
        """Give what comes to whom it belongs, until the link breaks."""
        try:
            if not self._greeted:
                await self.start()
            while True:
                header, size = await self._head()
                id = header.get("id")
                answer = self._answers.get(id) if type(id) is int else None
                if size > (answer.limit if answer else 0):
                    raise SyncError(f"the agent sent {size} bytes that nobody asked for")
                await self._room.take(size)
                frame = header, await self._payload(size)
                if answer is not None:
                    if not header.get("more"):
                        del self._answers[header["id"]]
                    await answer.add(frame)
        except (Unreachable, SyncError) as exc:
            self._broken = exc if isinstance(exc, Unreachable) else Unreachable(exc.message)
            for answer in self._answers.values():
                answer.end(self._broken)

    async def listen(self) -> None:
        """Keep the end of what the process says on stderr: its last words, should it end."""
        with suppress(Unreachable):
            while data := await self._process.stderr.read(1 << 14):
                self._said = (self._said + data)[-2000:]

    async def _head(self) -> tuple[dict[str, Any], int]:
        """The next frame's line, and how many bytes follow it."""
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            said = printable(self._said.strip())
            raise Unreachable("the sync's channel ended" + (f": {said}" if said else ""))
        try:
            return frames.decode(line)
        except frames.BadFrame as exc:
            raise SyncError(f"the agent sent no frame: {printable(str(exc))}") from None

    async def _payload(self, size: int) -> bytes:
        try:
            return await self._process.stdout.readexactly(size) if size else b""
        except asyncio.IncompleteReadError:
            raise Unreachable("the link broke in the middle of a frame") from None


@asynccontextmanager
async def open_channel(
    connection: Connection, command: str, like: Channel | None = None
) -> AsyncIterator[Channel]:
    """Run the agent's `sync` and talk to it. The process ends with the block.

    `like`: a channel to the same agent. Then nobody waits for this one's first word, and the round trip is
    not measured.

    Raises Unreachable, SyncError.
    """
    async with connection.open_process(command) as process:
        channel = Channel(process)
        listening = asyncio.create_task(channel.listen())
        if like is None:
            await channel.start()
        else:
            channel.codec = like.codec
        reading = asyncio.create_task(channel.read())
        try:
            if like is None:
                await channel.measure()
            yield channel
        finally:
            process.end_input()
            for task in (reading, listening):
                task.cancel()
            await asyncio.gather(reading, listening, return_exceptions=True)
