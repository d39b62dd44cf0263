"""What is common to everything that is sent: its entries, the id that is their content, how a file is read.

How entries are chosen is `code.py`'s and `files.py`'s part, how they are sent `push.py`'s.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from gpusess.errors import SyncError
from gpusess.sync.index import Index
from remote_agent.syncing import blocks
from remote_agent.syncing.rows import LARGE, tree_id

THREADS = 4
PORTION = 100
"""Files that a thread hashes in a row: starting one costs more than a small file."""
ALONE = 256 << 10
"""Bytes from which on a file is worth a thread. Smaller ones are mostly the interpreter's work, which threads
only take from each other: 2,000 of them took three times as long in four threads as in one."""
WAITING = 4.0
"""How many times longer than it works a thread may take before the disk is called slow."""
KEPT = 64 << 20
"""Bytes."""


class Entry(NamedTuple):
    """A file, link or empty folder of a tree: a row of what both sides speak of."""

    path: str
    """Relative, with `/`; bytes that are not UTF-8 as surrogates."""
    mode: Literal["file", "exec", "link", "folder"]
    size: int
    """Bytes; 0 for a link or folder."""
    content: str
    """The identity of a file (hex), the target of a link. Empty: a large file, hashed as it is sent."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is not sent, and why."""

    path: str
    reason: str


class Changed(SyncError):
    """A file is not what it was when the tree was read."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: changed while it was being sent", "start the sync again when nothing writes to it"
        )


def content_id(entries: Iterable[Entry]) -> str:
    """The id (hex): it changes if and only if a path, a mode, a file's bytes or a link's target does."""
    return tree_id(entries)


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: os.fsencode(entry.path)))


class Kept:
    """The bytes of small files that were read for their hashes, for the sending that follows; bounded."""

    def __init__(self, room: int = KEPT) -> None:
        self._room = room
        self._data: dict[str, bytes] = {}

    def put(self, path: str, data: bytes) -> None:
        if len(data) <= self._room:
            self._room -= len(data)
            self._data[path] = data

    def take(self, path: str) -> bytes | None:
        return self._data.pop(path, None)


def file_entries(
    root: Path,
    files: Sequence[tuple[str, os.stat_result]],
    index: Index,
    kept: Kept,
    *,
    follow: bool,
    defer: bool,
) -> list[Entry]:
    """Entries of regular files; those that the index does not know are hashed.

    `follow`: where a path is a link, its file is what counts. `defer`: a large file that is not known, under
    no other name either, gets no identity yet. Raises OSError.
    """
    entries: list[Entry] = []
    unknown: list[int] = []
    for path, found in files:
        mode: Literal["file", "exec"] = "exec" if found.st_mode & stat.S_IXUSR else "file"
        content = index.content(path, found)
        later = defer and found.st_size >= LARGE and not index.was_elsewhere(found)
        if content is None and not later:
            unknown.append(len(entries))
        entries.append(Entry(path, mode, found.st_size, content or ""))

    def some(numbers: Sequence[int]) -> None:
        for number in numbers:
            entry = entries[number]
            size, content, data = _hash(root, entry.path, index, follow)
            kept.put(entry.path, data)
            entries[number] = entry._replace(size=size, content=content)

    small = [number for number in unknown if entries[number].size < ALONE]
    portions = deque(small[at : at + PORTION] for at in range(0, len(small), PORTION))
    while portions:
        began, worked = time.perf_counter(), time.thread_time()
        some(portions.popleft())
        if time.perf_counter() - began > WAITING * (time.thread_time() - worked):
            break  # The disk makes this thread wait: several wait at once.
    left = [*([number] for number in unknown if entries[number].size >= ALONE), *portions]
    if left:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(some, left))
    return entries


def hash_entry(root: Path, entry: Entry, index: Index) -> Entry:
    """An entry with its identity; links are followed. Raises SyncError."""
    try:
        size, content, _ = _hash(root, entry.path, index, follow=True)
    except OSError as error:
        raise SyncError(f"{root / entry.path}: cannot be read: {(error.strerror or '').lower()}") from None
    return entry._replace(size=size, content=content)


def _hash(root: Path, path: str, index: Index, follow: bool) -> tuple[int, str, bytes]:
    """Size, identity, and the bytes where they are one block."""
    data = b""
    digests = []
    with opened(f"{root}/{path}", follow) as handle:
        found = os.fstat(handle)
        for number in range(blocks.count(found.st_size)):
            data = blocks.read_block(handle, number, found.st_size)
            digests.append(blocks.digest(data))
        content = blocks.identity(digests)
        index.note(path, found, os.fstat(handle), content)
    return found.st_size, content, data if len(digests) <= 1 else b""


def read_small(root: Path, entry: Entry, kept: Kept, *, follow: bool) -> bytes:
    """A file's bytes. Raises Changed where they are not what the entry says (any more)."""
    if entry.size and (data := kept.take(entry.path)):
        return data
    try:
        with opened(f"{root}/{entry.path}", follow) as handle:
            data = b"".join(
                blocks.read_block(handle, number, entry.size) for number in range(blocks.count(entry.size))
            )
            more = os.pread(handle, 1, entry.size)
    except OSError:
        raise Changed(entry.path) from None
    pieces = (data[start : start + blocks.BLOCK] for start in range(0, len(data), blocks.BLOCK))
    if len(data) != entry.size or more or blocks.identity(list(map(blocks.digest, pieces))) != entry.content:
        raise Changed(entry.path)
    return data


@contextmanager
def opened(path: Path | str, follow: bool) -> Iterator[int]:
    """A handle for reading. Raises OSError: it is not there, or is a link although `follow` is off."""
    # O_NONBLOCK: a pipe that took the file's place must not make the program wait for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    try:
        yield handle
    finally:
        os.close(handle)
