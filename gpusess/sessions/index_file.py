"""The file that keeps a run's frames, beside the mirror that they were made of: reading the whole ones, and
appending. A frame is framed by its lengths and a CRC-32, so that half a one, or a changed one, counts as
none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gpusess.analysis.result_frame import FORMAT, Frame, Header
from gpusess.errors import SessionError
from remote_agent.files import JOURNAL
from remote_agent.follow import tail_sha

FILE = "results.index"
_MAGIC = b"gpusess results\n"
_HEAD = struct.Struct("<16sIQI")
"""Magic, bytes of the header, bytes of the payload, CRC-32 of both."""


class IndexFile:
    """One reader's handle. Another process may replace the file; this handle keeps to the one it has opened,
    and writes no more once that is not the one in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = -1
        self._place = 0
        """Bytes of the file that are whole frames of this journal."""

    def frames(self, size: int) -> list[Frame]:
        """Open the file: its frames, as far as they are whole and of this journal, which has `size` bytes."""
        self.close()
        self._place = 0
        try:
            self._fd = os.open(self._folder / FILE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return []
        frames: list[Frame] = []
        first = place = 0
        for header, payload, end in self._walk(0):
            if header.start != (frames[-1].header.end if frames else 0) or header.end > size:
                break
            frames.append(Frame(header, self._reader(payload), first))
            first, place = first + header.rows, end
        if frames and frames[-1].header.tail != tail_sha(self._folder / JOURNAL, frames[-1].header.end):
            return []  # of another journal, or of an older copy: what is before may be as wrong
        self._place = place
        return frames

    def append(self, header: Header, payload: bytes) -> None:
        """Write a frame behind those that were read or appended.

        Left undone where another process writes or has begun the file anew, and where the folder cannot be
        written: whoever reads next makes it again.
        """
        head = msgspec.json.encode(header)
        body = head + payload
        data = _HEAD.pack(_MAGIC, len(head), len(payload), zlib.crc32(body)) + body
        with contextlib.suppress(OSError):
            if header.start == 0:
                self._begin(data)
            elif self._place:
                self._extend(header, data)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()

    def _walk(self, at: int) -> Iterator[tuple[Header, int, int]]:
        """Each whole frame with the places of its payload and of its end; stops at the first that is not."""
        while len(head := os.pread(self._fd, _HEAD.size, at)) == _HEAD.size:
            magic, size, payload, checksum = _HEAD.unpack(head)
            start = at + _HEAD.size
            if magic != _MAGIC or start + size + payload > os.fstat(self._fd).st_size:
                return
            body = os.pread(self._fd, size + payload, start)
            if len(body) != size + payload or zlib.crc32(body) != checksum:
                return
            try:
                header = msgspec.json.decode(body[:size], type=Header)
            except msgspec.DecodeError:
                return
            if header.format != FORMAT or header.order != sys.byteorder:
                return
            at = start + size + payload
            yield header, start + size, at

    def _reader(self, payload: int) -> Callable[[int, int], bytes]:
        def read(start: int, size: int) -> bytes:
            found = os.pread(self._fd, size, payload + start)
            if len(found) != size:
                raise SessionError(f"{FILE} was cut while it was read", "open the run again: it is made anew")
            return found

        return read

    def _begin(self, data: bytes) -> None:
        """A new file in the place of whatever is there, which others may be reading."""
        aside = self._folder / f".{FILE}.{os.getpid()}"
        try:
            fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write(fd, 0, data)
            finally:
                os.close(fd)
            aside.rename(self._folder / FILE)
        finally:
            aside.unlink(missing_ok=True)
        self.close()
        self._fd = os.open(self._folder / FILE, os.O_RDONLY | os.O_CLOEXEC)
        self._place = len(data)

    def _extend(self, header: Header, data: bytes) -> None:
        fd = os.open(self._folder / FILE, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.sameopenfile(fd, self._fd):
                self._place = 0
                return
            there = next(self._walk(self._place), None)
            if there and (there[0].start, there[0].checksum) == (header.start, header.checksum):
                self._place = there[2]
                return
            os.ftruncate(fd, self._place)
            _write(fd, self._place, data)
            self._place += len(data)
        finally:
            os.close(fd)


def _write(fd: int, place: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, place)
        place, view = place + written, view[written:]
