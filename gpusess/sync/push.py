"""A tree on its way to the instance: what differs from what is there, in one flight where it can be guessed.

Nothing counts until the other side has put the whole tree together and its place leads to it. What it has
already, of this place or of another one, is not sent; what a cut-off sync has sent is not sent again.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gpusess.errors import SyncError
from gpusess.sync.index import Index
from gpusess.sync.large import Place, part_of, send_large
from gpusess.sync.progress import Progress
from gpusess.sync.tree import Changed, Entry, Kept, Skipped, content_id, read_small
from gpusess.sync.wire import Answer, Channel, Channels, Frame
from remote_agent.syncing import frames
from remote_agent.syncing.rows import LARGE, Row, difference

BATCH = 2 << 20
"""Bytes of small files that are packed together."""
PRIME = 48 << 10
"""Bytes without a meaning that go ahead of a first sync over a long line while the files are read: TCP lets
twice as many bytes out after each round trip, and the sooner it begins the sooner the line is full."""
PRIME_FROM = 1 << 30
"""A line that is worth several channels for so many bytes is long."""


class Tree(Protocol):
    """What `code.read_code` and `files.read_files` give."""

    @property
    def root(self) -> Path: ...
    @property
    def entries(self) -> tuple[Entry, ...]: ...
    @property
    def skipped(self) -> tuple[Skipped, ...]: ...
    @property
    def index(self) -> Index: ...
    @property
    def kept(self) -> Kept: ...
    @property
    def single(self) -> bool: ...
    @property
    def follow(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Known:
    """What a place was last seen to hold."""

    id: str
    rows: Sequence[Row]
    inside: str = ""
    """The file in the tree that the place is; empty: the place is the tree."""


@dataclass(slots=True)
class Pushed:
    """What a sync did. Bytes are those of files, before compression; of a large file only those blocks count
    as sent that went."""

    id: str
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    inside: str = ""
    sent_files: int = 0
    sent_bytes: int = 0
    gone: int = 0
    """Files that are not there any more."""
    changed: bool = True
    """False: the place held this very tree."""

    @property
    def files(self) -> int:
        return sum(entry.mode != "folder" for entry in self.entries)

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.entries)

    @property
    def known(self) -> Known:
        return Known(self.id, self.entries, self.inside)


async def sync(
    read: Callable[[], Tree],
    place: str,
    channels: Channels,
    known: Known | None = None,
    progress: Progress | None = None,
) -> Pushed:
    """Read a tree, and make `place` (on the instance, relative to its home folder) hold it.

    While it is read here, the other side looks whether what it is `known` to have is still whole.

    Raises SyncError (refused; Changed: a file was written to meanwhile), Unreachable (begin it again).
    """
    first = await channels.channel(0)
    checked = None
    if known is not None:
        checked = await first.send("check", tree=known.id, place=place, inside=known.inside)
    elif channels.wanted(PRIME_FROM) > 1:
        (await first.send("echo", bytes(PRIME))).abandon()
    try:
        tree = await asyncio.to_thread(read)
    except SyncError:
        if checked is not None:
            checked.abandon()
        raise
    return await push(tree, place, channels, known, progress, checked)


async def push(
    tree: Tree,
    place: str,
    channels: Channels,
    known: Known | None = None,
    progress: Progress | None = None,
    checked: Answer | None = None,
) -> Pushed:
    """Make `place` hold a tree that was read. `checked`: what will say whether the known one is whole."""
    return await _Push(tree, place, channels, known, progress or Progress(), checked).run()


class _Push:
    def __init__(
        self,
        tree: Tree,
        place: str,
        channels: Channels,
        known: Known | None,
        progress: Progress,
        checked: Answer | None,
    ) -> None:
        self._checked = checked
        self._tree = tree
        self._place = place
        self._channels = channels
        self._known = known
        self._progress = progress
        self._entries = list(tree.entries)
        self._sent: set[int] = set()

    async def run(self) -> Pushed:
        before = self._progress.sent
        self._progress.expect(sum(entry.size for entry in self._entries))
        unknown = [n for n, e in enumerate(self._entries) if not e.content and e.mode != "folder"]
        if len(unknown) > 1:
            await self._check_room(unknown)
        for number in unknown:
            await self._send_large(number)
        id = content_id(self._entries)
        state, need = "base", list[int]()
        if await self._is_known(id):
            state = "there"
        elif self._known is not None:
            state, need = await self._fly(id, self._known)
        if state == "base":
            state, need = await self._fly(id, None)
        if state == "need":
            await self._send_rest(id, need)
        self._progress.spare(self._progress.total - self._progress.sent - self._progress.spared)
        gone = difference(self._known.rows, self._entries)[1] if self._known else []
        return Pushed(
            id,
            tuple(self._entries),
            self._tree.skipped,
            self._inside,
            sent_files=len(self._sent),
            sent_bytes=self._progress.sent - before,
            gone=len(gone),
            changed=state != "there",
        )

    async def _check_room(self, numbers: Sequence[int]) -> None:
        """Whether all of these large files have room there, before one is sent. Raises SyncError."""
        first = await self._channels.channel(0)
        sources = [self._tree.root / self._entries[number].path for number in numbers]
        try:
            found = [(source, source.stat()) for source in sources]
        except OSError as error:
            raise Changed(str(error.filename)) from None
        payload, codec = await packed(first, [[part_of(s, f), f.st_size] for s, f in found])
        await first.ask("room", payload, codec=codec)

    async def _is_known(self, id: str) -> bool:
        """Whether the tree is the known one, and was found whole while it was read here."""
        if self._checked is None:
            return False
        if self._known is None or self._known.id != id:
            self._checked.abandon()
            return False
        header, _ = await self._checked.next()
        return bool(header["state"] == "there")

    async def _fly(self, id: str, base: Known | None) -> tuple[str, list[int]]:
        """Say what the tree is, and send what is likely to be lacking without waiting for the answer.

        Returns what became of it: `there`, `done`, `need` (these rows) or `base` (it is not known there).
        """
        first = await self._channels.channel(0)
        changed, gone = difference(base.rows if base else (), self._entries)
        value = {"set": changed, "gone": gone} if base else self._entries
        payload, codec = await packed(first, value)
        offered = await first.send(
            "tree", payload, codec=codec, base=base.id if base else None, **self._facts(id)
        )
        answer = asyncio.create_task(offered.next())
        try:
            likely = _one_each(self._entries, {row[0] for row in changed}, base.rows if base else ())
            packs = await self._send_small(first, likely, answer)
            committed = None if base and base.id == id else await first.send("commit", **self._facts(id))
            header, data = await answer
        finally:
            answer.cancel()
        for pack in packs:
            await pack.next()
        if header["state"] != "need":
            return str(header["state"]), []
        if committed is None:  # it held this very tree, and was damaged since
            return "need", self._needed(header, data)
        header, data = await committed.next()
        return str(header["state"]), self._needed(header, data)

    async def _send_rest(self, id: str, need: list[int]) -> None:
        """What the other side has asked for."""
        first = await self._channels.channel(0)
        for number in need:
            if self._entries[number].size >= LARGE:
                await self._send_large(number)
        for pack in await self._send_small(first, need, None):
            await pack.next()
        header, _ = await first.ask("commit", **self._facts(id))
        if header["state"] != "done":
            raise SyncError(f"{self._tree.root}: the instance still lacks files", "start the sync again")

    async def _send_small(
        self, channel: Channel, numbers: Iterable[int], answer: asyncio.Task[Frame] | None
    ) -> list[Answer]:
        """Send small files, packed; once the `answer` is there, only those that it asks for."""
        waiting = deque(number for number in numbers if self._entries[number].size < LARGE)
        answers = []
        heard = False
        packing: asyncio.Task[Packed] | None = None
        try:
            while waiting or packing:
                if answer is not None and answer.done() and not heard:
                    heard = True
                    wanted = set(self._needed(*answer.result()))
                    waiting = deque(number for number in waiting if number in wanted)
                following = self._begin_packing(waiting, channel.codec)
                if packing is not None:
                    batch, codec, payload = await packing
                    answers.append(await channel.send("pack", payload, codec=codec))
                    self._sent.update(batch)
                    self._progress.send(sum(self._entries[number].size for number in batch))
                packing = following
        finally:
            if packing is not None:
                packing.cancel()
        return answers

    def _begin_packing(self, waiting: deque[int], codec: str) -> asyncio.Task[Packed] | None:
        """Take the next batch, and pack it while the one before it is sent."""
        batch: list[int] = []
        size = 0
        while waiting and size < BATCH:
            size += self._entries[waiting[0]].size
            batch.append(waiting.popleft())
        return asyncio.create_task(asyncio.to_thread(self._pack, batch, codec)) if batch else None

    def _pack(self, batch: list[int], codec: str) -> Packed:
        head = [[number, self._entries[number].size] for number in batch]
        pieces = [
            read_small(self._tree.root, self._entries[number], self._tree.kept, follow=self._tree.follow)
            for number in batch
        ]
        data = b"".join([json.dumps(head, separators=(",", ":")).encode(), b"\n", *pieces])
        return batch, codec, frames.codecs()[codec][0](data)

    async def _send_large(self, number: int) -> None:
        entry = self._entries[number]
        source = self._tree.root / entry.path
        before = await asyncio.to_thread(source.stat)
        at = Place(self._place, entry.path)
        content = await send_large(source, self._channels, at, self._progress)
        if entry.content and entry.content != content:
            raise Changed(entry.path)
        self._tree.index.note(entry.path, before, await asyncio.to_thread(source.stat), content)
        self._entries[number] = entry._replace(size=before.st_size, content=content)
        self._sent.add(number)

    def _needed(self, header: dict[str, Any], payload: bytes) -> list[int]:
        return rows_asked_for(header, payload, len(self._entries))

    def _facts(self, id: str) -> dict[str, Any]:
        return {"tree": id, "place": self._place, "inside": self._inside}

    @property
    def _inside(self) -> str:
        return self._entries[0].path if self._tree.single else ""


Packed = tuple[list[int], str, bytes]
"""The rows of a batch, the codec, and the bytes."""


async def packed(channel: Channel, value: Any) -> tuple[bytes, str]:
    """A value as a payload, and its codec."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return await asyncio.to_thread(frames.codecs()[channel.codec][0], data), channel.codec


def rows_asked_for(header: dict[str, Any], payload: bytes, rows: int) -> list[int]:
    """The rows that the other side asks for, if it does. Raises SyncError."""
    if header.get("state") != "need":
        return []
    try:
        found = frames.read_list(header, payload)
    except frames.BadFrame as error:
        raise SyncError(f"the agent's answer makes no sense: {error}") from None
    if not all(type(number) is int and 0 <= number < rows for number in found):
        raise SyncError("the agent asks for files that are not in the list")
    return found


def _one_each(entries: Sequence[Entry], among: set[str], there: Sequence[Row]) -> list[int]:
    """The rows of files `among` these paths, one for each content that is not `there` under any path."""
    known = {content for _, mode, _, content in there if mode in ("file", "exec")}
    found: dict[str, int] = {}
    for number, entry in enumerate(entries):
        if entry.path in among and entry.mode in ("file", "exec") and entry.content not in known:
            found.setdefault(entry.content, number)
    return list(found.values())
