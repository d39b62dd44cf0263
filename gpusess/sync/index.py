"""The hashes of a folder's files, kept between syncs: a file that looks as it did then is not read again.

As git does, a file that was changed in the very moment of its hashing is not trusted: it is hashed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path

from gpusess import paths

_FOLDER = "sync-2"
"""Below the cache. Another kind of hash takes another folder."""
_TICK = 100_000_000
"""Nanoseconds within which a second change may leave a file's times as they were."""
_COARSE = 2_000_000_000
"""The same where a file system keeps whole seconds."""

Stamp = tuple[int, int, int, int]
"""Size, mtime, ctime (nanoseconds), inode."""


class Index:
    """The known files of one folder. `note` may be called from several threads."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, tuple[Stamp, str]] = {}
        self._used: set[str] = set()
        self._places: set[tuple[int, int, int]] | None = None
        self._changed = False

    @classmethod
    def of(cls, root: Path) -> Index:
        """What is kept of a folder; empty where nothing is, or where it is damaged."""
        name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:32]
        index = cls(paths.cache() / _FOLDER / name)
        with suppress(OSError, ValueError, zlib.error, KeyError, TypeError):
            assert index._file
            rows = json.loads(zlib.decompress(index._file.read_bytes()))
            index._known = {path: ((a, b, c, d), content) for path, a, b, c, d, content in rows}
        return index

    def content(self, path: str, found: os.stat_result) -> str | None:
        """The identity of a file that looks like this; None: it must be read."""
        self._used.add(path)
        known = self._known.get(path)
        return known[1] if known and known[0] == _stamp(found) else None

    def was_elsewhere(self, found: os.stat_result) -> bool:
        """Whether a file of this size, time and inode is known under another name: it seems to be renamed."""
        if self._places is None:
            self._places = {(size, mtime, inode) for (size, mtime, _, inode), _ in self._known.values()}
        return (found.st_size, found.st_mtime_ns, found.st_ino) in self._places

    def note(self, path: str, before: os.stat_result, after: os.stat_result, content: str) -> None:
        """A file was hashed, and looked like that before and after."""
        stamp = _stamp(before)
        newest = max(before.st_mtime_ns, before.st_ctime_ns)
        quiet = _COARSE if before.st_mtime_ns % 1_000_000_000 == 0 else _TICK
        if stamp == _stamp(after) and time.time_ns() - newest > quiet:
            self._known[path] = (stamp, content)
            self._changed, self._places = True, None

    def save(self) -> None:
        """Keep it, without the files that nobody asked for. A cache: no room for it is no error."""
        gone = self._known.keys() - self._used
        if self._file is None or not (self._changed or gone):
            return
        for path in gone:
            del self._known[path]
        rows = [[path, *stamp, content] for path, (stamp, content) in self._known.items()]
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = self._file.with_name(f"{self._file.name}.tmp-{os.getpid()}")
            partial.write_bytes(zlib.compress(json.dumps(rows).encode(), 1))
            partial.replace(self._file)
        self._changed = False


def _stamp(found: os.stat_result) -> Stamp:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
