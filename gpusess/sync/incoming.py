"""A file on its way home: put together from pieces, hashed as it grows, taken up where an earlier try ended.

Where the pieces come from, and what becomes of the file, is the caller's part.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from gpusess.errors import SyncError
from gpusess.sync.tensors import BadPiece, apply
from gpusess.sync.wire import Frame
from remote_agent.manifest import File
from remote_agent.tensors import Piece

READ = 1 << 20
DAMAGED = "it is asked for again; if it goes on, something on the way damages data, or the instance lies"


class Incoming:
    """A file that grows piece by piece, and its hash. Its methods read and write: call them in a thread."""

    def __init__(self, file: File, target: Path, source: Path | None) -> None:
        self._file = file
        self._target = target
        self._source = source
        self._old: int | None = None
        self._old_size = 0
        self._out: BinaryIO | None = None
        self._sha = hashlib.sha256()
        self.length = 0

    def take_up(self) -> None:
        """Open the file, with what an earlier pull has brought of it."""
        if self._source is not None:
            self._old = os.open(self._source, os.O_RDONLY)
            self._old_size = os.fstat(self._old).st_size
        self._out = os.fdopen(os.open(self._target, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")
        if os.fstat(self._out.fileno()).st_size > self._file.size:
            self._out.truncate(0)
        while data := self._out.read(READ):
            self._sha.update(data)
            self.length += len(data)

    def take(self, pieces: Sequence[Frame]) -> None:
        """Append what pieces say. Raises SyncError where one makes no sense or is more than was promised."""
        for header, payload in pieces:
            self._take(header, payload)

    def _take(self, header: dict[str, Any], payload: bytes) -> None:
        kind, width, base, length = (_number(header.get(key)) for key in ("kind", "width", "base", "length"))
        try:
            data = apply(Piece(kind, width, base, length, payload), self._old, self._old_size)
        except BadPiece as exc:
            raise SyncError(f"{self._file.path}: the instance sent {exc}", DAMAGED) from exc
        if self.length + len(data) > self._file.size:
            raise SyncError(
                f"{self._file.path}: the instance sends more than the {self._file.size} bytes of the manifest"
            )
        assert self._out is not None
        self._out.write(data)
        self._sha.update(data)
        self.length += len(data)

    def finish(self) -> bool:
        """Whether all of it is here and right; then it is on the disk too."""
        assert self._out is not None
        self._out.flush()
        os.fsync(self._out.fileno())
        return self.length == self._file.size and self._sha.hexdigest() == self._file.sha256

    def close(self) -> None:
        if self._out is not None:
            with suppress(OSError):  # The disk is full: that was said already.
                self._out.close()
        if self._old is not None:
            os.close(self._old)


def _number(value: Any) -> int:
    if type(value) is not int:
        raise SyncError("the instance sent a piece that makes no sense", DAMAGED)
    return value
