"""Reading a run's mirror: the bytes that have come home, decoded and folded as they grow.

Writing the mirror is `gpusess.remote.follow`'s work; this side only reads, and several processes may.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from gpusess.analysis.run_state import RunState, fold, fold_answer
from gpusess.analysis.slim import Slim
from gpusess.sessions import saved_fold
from remote_agent.files import EVENTS, JOURNAL
from remote_agent.journal import BadLine, Record, decode, intact

CHUNK = 1 << 20
LINE_LIMIT = 32 << 20
"""What is longer without a newline is taken as a line: a progress bar may go on for ever."""


class Tail:
    """The whole lines that a growing file has gained since the last look.

    `last`: bytes before the file's end to begin at (at the next line); None: at its beginning.
    """

    def __init__(self, path: Path, last: int | None = None) -> None:
        self.path = path
        self.offset = 0
        self.replaced = False
        """The file is another one now, or has become shorter: nothing more is read of it."""
        self._name = os.fspath(path)
        self._file = (0, 0)
        self._rest = b""
        self._last = last
        self._in_a_line = False

    @property
    def whole(self) -> int:
        """Bytes of the whole lines that were read."""
        return self.offset - len(self._rest)

    def begin_at(self, offset: int) -> None:
        """Go on behind the whole lines of that many bytes, which are known already."""
        if offset:
            found = self.path.stat()
            self.offset, self._file = offset, (found.st_dev, found.st_ino)

    def lines(self, limit: int = CHUNK) -> list[bytes]:
        """Whole new lines, at most about `limit` bytes of them; empty where there are none."""
        try:
            found = os.stat(self._name)  # noqa: PTH116 - some hundred times a second
            if self._is_replaced(found) or found.st_size <= self.offset:  # mostly so: cheaper than opening it
                return []
            self._skip_to_the_last(found.st_size)
            with open(self._name, "rb", buffering=0) as file:  # noqa: PTH123
                file.seek(self.offset)
                data = file.read(limit)
        except FileNotFoundError:
            return []
        self.offset += len(data)
        head, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        if len(rest) > LINE_LIMIT:
            head, newline, self._rest = (head + newline + rest), b"\n", b""
        lines = head.split(b"\n") if newline else []
        if lines and self._in_a_line:
            self._in_a_line = False
            return lines[1:]
        return lines

    def _is_replaced(self, found: os.stat_result) -> bool:
        file = (found.st_dev, found.st_ino)
        if self.offset and (file != self._file or found.st_size < self.offset):
            self.replaced = True
        self._file = file
        return self.replaced

    def _skip_to_the_last(self, size: int) -> None:
        """At the first look at a long file: begin near its end, in the middle of a line."""
        if self._last is not None and size > self._last:
            self.offset, self._in_a_line = size - self._last, True
        self._last = None


class RunMirror:
    """One run's mirror and the state folded from it."""

    def __init__(self, folder: Path, on_record: Callable[[Record], None] | None = None) -> None:
        self.folder = folder
        self.state = RunState()
        self.damage = ""
        """What is wrong with the mirror; empty: nothing."""
        self._on_record = on_record
        self._tails = self._begin()
        self._unsaved = 0
        if on_record is None:
            self._go_on()
        self._slim = msgspec.json.Decoder(Slim).decode

    @property
    def length(self) -> int:
        """Bytes of the journal that have been read."""
        return self._tails[JOURNAL].offset

    def folded(self, name: str) -> int:
        """Bytes of a journal's whole records that the state holds."""
        return self._tails[name].whole

    def refresh(self, budget: int = 8 * CHUNK) -> bool:
        """Fold what is new, at most about `budget` bytes; True where more is waiting.

        Where a file was put in the place of one that was read (a copy that was fetched anew), the state
        begins anew as well: it never is of two copies.
        """
        more = False
        for name, tail in self._tails.items():
            left = budget
            if self.damage:
                tail.lines(0)  # nothing more is folded, but a new copy is noticed
            while left > 0 and not self.damage:
                before = tail.offset
                self._fold(name, tail.lines(min(CHUNK, left)))
                if tail.offset == before:
                    break
                left -= tail.offset - before
            self._unsaved += budget - left
            more = more or left <= 0
        if any(tail.replaced for tail in self._tails.values()):
            self.state, self.damage, self._tails = RunState(), "", self._begin()
            return True
        if not more:
            self._keep()
        return more

    def _go_on(self) -> None:
        """Begin with the state that was kept of these very files, where there is one."""
        kept = saved_fold.load(self.folder)
        if kept:
            self.state, lengths = kept
            for name, tail in self._tails.items():
                tail.begin_at(lengths.get(name, 0))

    def _keep(self) -> None:
        """All is folded: where that was much, the next start need not do it again."""
        if self._unsaved > saved_fold.WORTH_IT and not self.damage and self._on_record is None:
            lengths = {name: self.folded(name) for name in self._tails}
            saved_fold.save(self.folder, self.state, lengths)
            self._unsaved = 0

    def _begin(self) -> dict[str, Tail]:
        return {name: Tail(self.folder / name) for name in (JOURNAL, EVENTS)}

    def _fold(self, name: str, lines: list[bytes]) -> None:
        take = self._take_whole if self._on_record else self._take
        for line in lines:
            try:
                take(line)
            except BadLine as exc:
                self.damage = f"{self.folder / name}: a damaged line ({exc})"
                return

    def _take(self, line: bytes) -> None:
        """Results are read without their long texts, in a fifth of the time. Raises BadLine."""
        if intact(line):
            try:
                answer = self._slim(line)
            except msgspec.DecodeError:
                pass  # Half a surrogate pair, or a kind whose fields differ: the slow way reads it.
            else:
                if answer.kind == "result" and answer.verdict:
                    fold_answer(self.state, answer)
                    return
        fold(self.state, decode(line))

    def _take_whole(self, line: bytes) -> None:
        record = decode(line)
        fold(self.state, record)
        if self._on_record:
            self._on_record(record)
