"""Where the instance keeps what was synced, below `~/.gpusess`, and what it remembers of it.

    blobs/<tree>          trees; a folder appears whole or not at all and is never written to again
    sync/trees/<tree>     what each file of a tree was when it was written: hash, size, time, inode
    sync/files/<identity> large files, shared with the trees by hard links; `.blocks` beside each: its hashes
    sync/parts/<key>      large files that are on their way
    sync/places/<hash>    which link leads to which tree

A file whose time, size and inode are as remembered is taken for what it was. After a reboot nothing is: files
are not forced to the disk when they arrive, so each is hashed once more.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARGIN = 64 * 1024 * 1024
"""Bytes of the disk that are left to others."""


class Refused(Exception):
    """A request that is not granted. `kind`: what the other side can do about it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Seen:
    """What tells that a file was not touched since."""

    size: int
    mtime: int
    """Nanoseconds."""
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Seen:
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


class Store:
    """The folders, and small files in them that are replaced whole."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / ".gpusess"
        self.blobs = self.root / "blobs"
        self.trees = self.root / "sync/trees"
        self.files = self.root / "sync/files"
        self.parts = self.root / "sync/parts"
        self.places = self.root / "sync/places"
        self.boot = _boot()

    def make(self) -> None:
        for folder in (self.blobs, self.trees, self.files, self.parts, self.places):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def free(self) -> int:
        """Bytes that may still be written."""
        found = os.statvfs(self.root)
        return max(0, found.f_bavail * found.f_frsize - MARGIN)

    def check_room(self, wanted: int) -> None:
        """Raises Refused("space")."""
        if wanted > (free := self.free()):
            raise Refused("space", f"{wanted} bytes are to come, and there is room for {free}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes of this store: nobody removes a tree between its look and its link."""
        with (self.root / "sync/lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def resolve(self, place: str) -> Path:
        """A place that the other side names, relative to the home folder or absolute."""
        return self.home / place

    def remember(self, path: Path, value: Any) -> None:
        """Replace a small file by this value."""
        partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        partial.write_bytes(zlib.compress(json.dumps([self.boot, value]).encode(), 1))
        partial.replace(path)

    def recall(self, path: Path) -> tuple[bool, Any]:
        """Whether it was written since the last boot, and the value; None where there is none (whole)."""
        with suppress(OSError, ValueError, zlib.error):
            boot, value = json.loads(zlib.decompress(path.read_bytes()))
            return boot == self.boot, value
        return False, None


def place_key(place: str) -> str:
    """The file name that stands for a place."""
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:32]


def clone(source: Path, target: int, size: int) -> None:
    """Copy the first `size` bytes of a file into an open, empty one, or all of it, sharing the disk's blocks
    where the file system can. Raises OSError."""
    with source.open("rb") as file:
        with suppress(OSError):
            fcntl.ioctl(target, _FICLONE, file.fileno())
            return
        done = 0
        while done < size:
            moved = _copy(file.fileno(), target, done, size - done)
            if not moved:
                return
            done += moved


def _copy(source: int, target: int, at: int, most: int) -> int:
    """Copy a piece from and to the same place; its length. Raises OSError."""
    with suppress(OSError):  # Not every file system does it, and not between every two.
        return os.copy_file_range(source, target, min(_PIECE, most), at, at)
    return os.pwrite(target, os.pread(source, min(_PIECE >> 6, most), at), at)


_FICLONE = 0x40049409
_PIECE = 64 << 20


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""
