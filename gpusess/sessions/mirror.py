"""Reading a run's mirror: the bytes that have come home, decoded and folded as they grow.

Writing the mirror is `gpusess.remote.follow`'s work; this side only reads, and several processes may.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gpusess.analysis.run_state import RunState, fold
from remote_agent.files import EVENTS, JOURNAL
from remote_agent.journal import BadLine, Record, decode

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
        self._rest = b""
        self._last = last
        self._in_a_line = False

    @property
    def whole(self) -> int:
        """Bytes of the whole lines that were read."""
        return self.offset - len(self._rest)

    def lines(self, limit: int = CHUNK) -> list[bytes]:
        """Whole new lines, at most about `limit` bytes of them; empty where there are none."""
        try:
            size = self.path.stat().st_size
            if size <= self.offset:  # mostly so: cheaper than opening it
                return []
            self._skip_to_the_last(size)
            with self.path.open("rb") as file:
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
        self._tails = {name: Tail(folder / name) for name in (JOURNAL, EVENTS)}
        self._on_record = on_record

    @property
    def length(self) -> int:
        """Bytes of the journal that have been read."""
        return self._tails[JOURNAL].offset

    def folded(self, name: str) -> int:
        """Bytes of a journal's whole records that the state holds."""
        return self._tails[name].whole

    def refresh(self, budget: int = 8 * CHUNK) -> bool:
        """Fold what is new, at most about `budget` bytes; True where more is waiting."""
        more = False
        for name, tail in self._tails.items():
            left = budget
            while left > 0 and not self.damage:
                before = tail.offset
                self._fold(name, tail.lines(min(CHUNK, left)))
                if tail.offset == before:
                    break
                left -= tail.offset - before
            more = more or left <= 0
        return more

    def _fold(self, name: str, lines: list[bytes]) -> None:
        for line in lines:
            try:
                record = decode(line)
            except BadLine as exc:
                self.damage = f"{self.folder / name}: a damaged line ({exc})"
                return
            fold(self.state, record)
            if self._on_record:
                self._on_record(record)
