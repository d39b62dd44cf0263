"""What is common to everything that is sent: entries, the id that is their content, and the tar stream.

The stream is deterministic and needs little memory; a file that changes while it is read ends it with an
error, so that what arrives is what the id says. How entries are chosen is `code.py`'s and `files.py`'s part.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from gpusess.errors import SyncError
from remote_agent.unpack import MANIFEST

CHUNK = 1024 * 1024
"""Bytes that are read at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or link of a tree."""

    path: str
    """Relative, with `/`; bytes that are not UTF-8 as surrogates."""
    mode: Literal["file", "exec", "link"]
    size: int
    """Bytes; 0 for a link."""
    content: str
    """SHA-256 (hex) of a file, the target of a link."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is not sent, and why."""

    path: str
    reason: str


def manifest(entries: Iterable[Entry]) -> bytes:
    """The entries as canonical JSON. Its SHA-256 is the id of the tree."""
    rows = [[entry.path, entry.mode, entry.size, entry.content] for entry in entries]
    return json.dumps(rows, separators=(",", ":")).encode()


def content_id(entries: Iterable[Entry]) -> str:
    """The id (hex): it changes if and only if a path, a mode, a file's bytes or a link's target does."""
    return hashlib.sha256(manifest(entries)).hexdigest()


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: os.fsencode(entry.path)))


def read_entry(root: Path, path: str, *, follow: bool = False) -> Entry:
    """Hash a regular file. Safe to call from many threads: hashing lets the others run.

    `follow`: where `path` is a link, its file is what counts.

    Raises:
        OSError: it cannot be read, or is a link although `follow` is off.
    """
    digest = hashlib.sha256()
    size = 0
    with _open(root / path, follow) as file:
        mode = os.fstat(file.fileno()).st_mode
        while block := file.read(CHUNK):
            digest.update(block)
            size += len(block)
    return Entry(path, "exec" if mode & stat.S_IXUSR else "file", size, digest.hexdigest())


def _open(path: Path, follow: bool) -> FileIO:
    # O_NONBLOCK: a pipe that took the file's place must not make the program wait for ever.
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    return FileIO(os.open(path, flags), "rb")


def tar(root: Path, entries: Iterable[Entry], *, follow: bool = False) -> Iterator[bytes]:
    """The tar stream of a tree: the manifest, then each file. Links stand in the manifest only.

    Raises:
        SyncError: a file is not what its entry says (any more).
    """
    entries = tuple(entries)
    head = manifest(entries)
    yield _header(MANIFEST, len(head), 0o644) + _padded(head)
    for entry in entries:
        if entry.mode != "link":
            yield _header(entry.path, entry.size, 0o755 if entry.mode == "exec" else 0o644)
            yield from _content(root, entry, follow)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _content(root: Path, entry: Entry, follow: bool) -> Iterator[bytes]:
    digest = hashlib.sha256()
    left = entry.size
    try:
        with _open(root / entry.path, follow) as file:
            while left and (block := file.read(min(CHUNK, left))):
                digest.update(block)
                left -= len(block)
                yield block
            more = file.read(1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SyncError(f"{entry.path}: cannot be read any more: {reason}", "start the sync again") from None
    if left or more or digest.hexdigest() != entry.content:
        message = f"{entry.path}: changed while it was being sent; nothing of this stream will be used"
        raise SyncError(message, "start the sync again when nothing writes to it")
    yield bytes(-entry.size % tarfile.BLOCKSIZE)


def _header(path: str, size: int, mode: int) -> bytes:
    # Time, owner and group stay 0: they are no part of the content.
    info = tarfile.TarInfo(path)
    info.size = size
    info.mode = mode
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)
