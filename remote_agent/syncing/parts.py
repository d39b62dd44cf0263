"""Large files on their way in: begun from what is there, filled block by block, sealed when all is verified.

A part keeps its place and its name over crashes of both sides; what it holds is found by hashing it again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from remote_agent.syncing import blocks
from remote_agent.syncing.store import Refused, Seen, Store, clone


@dataclass(slots=True)
class Whole:
    """A large file that is all there."""

    path: Path
    digests: list[bytes]


class Parts:
    """The parts and whole files of a store; `write` may be called from several threads and processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()

    def begin(self, key: str, size: int, base: Path | None) -> list[bytes]:
        """Open the part `key`, or make it; the digests of what it holds, UNKNOWN for blocks that are to come.

        `base`: an older version of the file; a new part starts as its copy. Raises Refused("space").
        """
        path = self._path(key)
        if path.exists():
            return self._continue(path, key, size)
        self._store.check_room(size)
        handle = self._handle(key, create=True)
        if base is None:
            return [blocks.UNKNOWN] * blocks.count(size)
        return self._copy(base, handle, size)

    def check_room(self, wanted: Sequence[tuple[str, int]]) -> None:
        """Whether there is room for all of these parts (key, size). Raises Refused("space")."""
        missing = 0
        for key, size in wanted:
            path = self._path(key)
            missing += max(0, size - (path.stat().st_blocks * 512 if path.exists() else 0))
        self._store.check_room(missing)

    def _continue(self, path: Path, key: str, size: int) -> list[bytes]:
        handle = self._handle(key)
        allocated = path.stat().st_blocks * 512
        self._store.check_room(max(0, size - allocated))
        if path.stat().st_size > size:
            os.ftruncate(handle, size)
        return _padded(blocks.digests(handle, path.stat().st_size), size)

    def _copy(self, source: Path, handle: int, size: int) -> list[bytes]:
        before = source.stat()
        clone(source, handle, min(before.st_size, size))
        os.ftruncate(handle, min(before.st_size, size))
        known = self._remembered(before)
        if known is None or Seen.of(source.stat()) != Seen.of(before):
            return _padded(blocks.digests(handle, os.fstat(handle).st_size), size)
        # The last block of the shorter of the two is another one than the longer one's.
        common = min(before.st_size, size) // blocks.BLOCK
        same = known if before.st_size == size else known[:common]
        return _padded(same, size)

    def _remembered(self, found: os.stat_result) -> list[bytes] | None:
        """The digests of a tree's file that is a hard link of a whole file."""
        if found.st_nlink < 2:
            return None
        for path in self._store.files.glob("*.blocks"):
            fresh, value = self._store.recall(path)
            if fresh and value and Seen(*value[0]) == Seen.of(found):
                return blocks.split(bytes.fromhex(value[1]))
        return None

    def write(self, key: str, index: int, data: bytes | bytearray, expected: bytes) -> None:
        """Verify a block and write it. Raises Refused("damaged")."""
        if blocks.digest(data) != expected:
            raise Refused("damaged", f"block {index} arrived damaged: its hash differs")
        handle = self._handle(key)
        view, at = memoryview(data), index * blocks.BLOCK
        while view:
            done = os.pwrite(handle, view, at)
            view, at = view[done:], at + done

    def seal(self, key: str, size: int, digests: Sequence[bytes]) -> str:
        """Make the part a whole file; its identity. The caller knows of each block that it is there.

        Raises Refused("incomplete").
        """
        identity = blocks.identity(digests)
        path = self._path(key)
        target = self._store.files / identity
        if not path.exists() and self.whole(identity):
            return identity
        handle = self._handle(key)
        os.ftruncate(handle, size)
        if len(digests) != blocks.count(size):
            raise Refused("incomplete", f"{len(digests)} blocks make no file of {size} bytes")
        os.fchmod(handle, 0o644)
        self.close(key)
        joined = b"".join(digests).hex()
        seen = Seen.of(path.stat())
        path.replace(target)
        self._store.remember(target.with_suffix(".blocks"), [[seen.size, seen.mtime, seen.inode], joined])
        return identity

    def whole(self, identity: str) -> Whole | None:
        """A whole file, if it is here and was not touched since; after a reboot it is hashed again."""
        path = self._store.files / identity
        fresh, value = self._store.recall(path.with_suffix(".blocks"))
        with suppress(OSError):
            found = Seen.of(path.stat())
            if fresh and value and Seen(*value[0]) == found:
                return Whole(path, blocks.split(bytes.fromhex(value[1])))
            with path.open("rb") as file:
                digests = blocks.digests(file.fileno(), found.size)
            if blocks.identity(digests) == identity:
                seen = [found.size, found.mtime, found.inode]
                self._store.remember(path.with_suffix(".blocks"), [seen, b"".join(digests).hex()])
                return Whole(path, digests)
        return None

    def release(self, identity: str) -> None:
        """Forget a whole file that only one other name is left of: removing that one then frees the disk."""
        path = self._store.files / identity
        with suppress(FileNotFoundError):
            if path.stat().st_nlink == 2:
                path.unlink()
                path.with_suffix(".blocks").unlink(missing_ok=True)

    def drop(self, key: str) -> None:
        """Forget a part."""
        self.close(key)
        self._path(key).unlink(missing_ok=True)

    def close(self, key: str) -> None:
        with self._lock:
            handle = self._open.pop(key, None)
        if handle is not None:
            os.close(handle)

    def _handle(self, key: str, create: bool = False) -> int:
        with self._lock:
            if key not in self._open:
                flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
                try:
                    self._open[key] = os.open(self._path(key), flags, 0o600)
                except FileNotFoundError:
                    raise Refused("incomplete", "this part was not begun") from None
            return self._open[key]

    def _path(self, key: str) -> Path:
        if not key.isalnum():
            raise Refused("wrong", "not a part's name")
        return self._store.parts / key


def _padded(known: Sequence[bytes], size: int) -> list[bytes]:
    wanted = blocks.count(size)
    return [*known[:wanted], *[blocks.UNKNOWN] * (wanted - len(known))]
