"""The index of a run's results: frames (`gpusess.analysis.result_frame`) made of its mirror, kept in a file
beside it and made anew wherever they are not of these very bytes. The mirror stays the one truth: without
the file, or where it cannot be written, everything works and is only read again.

Whoever reads first builds it. Frames are cut by a rule of their own, so two builders write the same bytes; a
lock keeps them from writing at once, and a builder that is killed leaves half a frame, which the next cuts
off.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from gpusess.analysis.result_building import FrameBuilder
from gpusess.analysis.result_frame import Frame, pack_texts
from gpusess.sessions.index_file import FILE, IndexFile
from gpusess.sessions.mirror import LINE_LIMIT
from remote_agent.files import JOURNAL
from remote_agent.follow import tail_sha
from remote_agent.journal import BadLine, Record, decode


class ResultIndex:
    """The results of one run, in the order of the journal. Not for several threads.

    keep: write what was made into the index file.
    """

    def __init__(self, folder: Path, keep: bool = True) -> None:
        self.folder = folder
        self.frames: list[Frame] = []
        self.rows = 0
        self.damage = ""
        """What is wrong with the mirror; rows go as far as that. Empty: nothing."""
        self.version = 0
        """Grows when rows have come."""
        self.epoch = 0
        """Grows when all was begun anew: the mirror is another one."""
        self._keep = keep
        self._kept: IndexFile | None = None
        self._builder = FrameBuilder()
        self._tail: Frame | None = None
        self._firsts: list[int] = []
        self._journal: int | None = None
        self._file = (0, 0)
        self._begin()

    @property
    def length(self) -> int:
        """Bytes of the journal that the rows were made of."""
        return self._builder.end

    @property
    def begun(self) -> bool:
        """Whether there is a journal."""
        return self._journal is not None

    @property
    def waiting(self) -> int:
        """Bytes of the journal that were not looked at yet; half a line at its end among them."""
        return max(0, self._size() - self.length) if not self.damage else 0

    def refresh(self, budget: int = 8 << 20) -> bool:
        """Take what is new, at most about `budget` bytes; True where more is waiting."""
        if self._is_other():
            self.close()
            self.epoch += 1
            self._begin()
            return True
        left = budget
        before = self._builder.end
        while left > 0 and not self.damage:
            took = self._advance()
            if not took:
                break
            left -= took
        if self._builder.end != before:
            self._show_tail()
            self.version += 1
        return left <= 0 and not self.damage

    def read_all(self) -> None:
        while self.refresh():
            pass

    @property
    def whole(self) -> int:
        """Frames that will not change any more; one that still grows may follow them."""
        return len(self.frames) - (self._tail is not None)

    def find(self, sample: str, candidate: int) -> int | None:
        """The row of a sample's answer; None where there is none."""
        needle = pack_texts([sample])[1:-1]
        for frame in self.frames:
            if needle not in frame.raw_texts("sample"):
                continue
            candidates = frame.ints("candidate")
            for at, name in enumerate(frame.texts("sample")):
                if name == sample and candidates[at] == candidate:
                    return frame.first + at
        return None

    def frame_of(self, row: int) -> tuple[Frame, int]:
        """The frame that holds a row, and the row's place in it. Raises IndexError."""
        if not 0 <= row < self.rows:
            raise IndexError(row)
        frame = self.frames[bisect_right(self._firsts, row) - 1]
        return frame, row - frame.first

    def read(self, place: int, size: int) -> bytes:
        """Bytes of the journal."""
        return os.pread(self._journal, size, place) if self._journal is not None else b""

    def line(self, row: int) -> bytes:
        """A row's line of the journal."""
        frame, at = self.frame_of(row)
        return self.read(frame.header.start + frame.number("line", at), frame.number("length", at))

    def record(self, row: int) -> Record:
        """A row's whole record. Raises BadLine where the journal was changed since."""
        return decode(self.line(row))

    def others_of(self, frame: Frame) -> Iterator[Record]:
        for place, length in frame.header.others:
            yield decode(self.read(place, length))

    def checksum_holds(self) -> bool:
        """Whether the journal's bytes still are those that the frames were made of."""
        value, at = 0, 0
        while at < self.length:
            piece = self.read(at, min(1 << 20, self.length - at))
            if not piece:
                return False
            value = zlib.crc32(piece, value)
            at += len(piece)
        return value == self._builder.checksum

    def discard(self) -> None:
        """Throw the index away and begin anew: it is not of this journal."""
        self.close()
        with contextlib.suppress(OSError):
            (self.folder / FILE).unlink()
        self.epoch += 1
        self._begin()

    def close(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def __enter__(self) -> ResultIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the journal ---

    def _begin(self) -> None:
        self.frames, self._firsts, self._tail, self.rows, self.damage = [], [], None, 0, ""
        self._builder = FrameBuilder()
        with contextlib.suppress(FileNotFoundError):
            self._journal = os.open(self.folder / JOURNAL, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self._journal)
            self._file = (found.st_dev, found.st_ino)
            self._kept = IndexFile(self.folder)
            for frame in self._kept.frames(found.st_size):
                self._add(frame)
        if self.frames:
            last = self.frames[-1].header
            self._builder = FrameBuilder(last.end, last.checksum, last.lines)
            self.version += 1

    def _is_other(self) -> bool:
        """Whether the journal is another file than the one that was read, or has become shorter."""
        try:
            found = (self.folder / JOURNAL).stat()
        except FileNotFoundError:
            return self._journal is not None
        return (found.st_dev, found.st_ino) != self._file or found.st_size < self.length

    def _size(self) -> int:
        return os.fstat(self._journal).st_size if self._journal is not None else 0

    def _advance(self) -> int:
        """Take the next whole lines; returns their bytes, 0 where there are none."""
        builder = self._builder
        want = builder.room + (64 << 10)
        data = self.read(builder.end, want)
        head, newline, _ = data.rpartition(b"\n")
        while not newline and len(data) == want and want < LINE_LIMIT:
            want = min(2 * want, LINE_LIMIT)  # a long line
            data = self.read(builder.end, want)
            head, newline, _ = data.rpartition(b"\n")
        if not newline:
            if len(data) >= LINE_LIMIT:
                self.damage = f"{self.folder / JOURNAL}, line {builder.lines + 1}: longer than any record"
            return 0
        before, lines = builder.end, head.split(b"\n")
        try:
            builder.take(lines)
        except BadLine as exc:
            self.damage = f"{self.folder / JOURNAL}, line {builder.lines + 1}: {exc}"
        except OverflowError as exc:
            self.damage = f"{self.folder / JOURNAL}, after line {builder.lines}: {exc}"
        took = builder.end - before
        if builder.full:
            self._finish()
        return took

    def _finish(self) -> None:
        """The builder's frame is whole: keep it, and begin the next."""
        builder = self._builder
        tail = tail_sha(self.folder / JOURNAL, builder.end)
        self._drop_tail()
        frame, payload = builder.frame(self.rows, tail)
        self._add(frame)
        if self._keep and self._kept:
            self._kept.append(frame.header, payload)
        self._builder = FrameBuilder(builder.end, builder.checksum, builder.lines)

    def _show_tail(self) -> None:
        """What the unfinished frame holds so far becomes visible."""
        self._drop_tail()
        if self._builder.end > self._builder.start:
            self._tail, _ = self._builder.frame(self.rows)
            self._add(self._tail)

    def _drop_tail(self) -> None:
        if self._tail is not None:
            self.frames.pop()
            self._firsts.pop()
            self.rows -= len(self._tail)
            self._tail = None

    def _add(self, frame: Frame) -> None:
        self.frames.append(frame)
        self._firsts.append(self.rows)
        self.rows += len(frame)
