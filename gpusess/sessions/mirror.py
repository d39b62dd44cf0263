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


class Tail:
    """The whole lines that a growing file has gained since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self._rest = b""

    @property
    def whole(self) -> int:
        """Bytes of the whole lines that were read."""
        return self.offset - len(self._rest)

    def lines(self, limit: int = CHUNK) -> list[bytes]:
        """Whole new lines, at most about `limit` bytes of them; empty where there are none."""
        try:
            if self.path.stat().st_size <= self.offset:  # mostly so: cheaper than opening it
                return []
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(limit)
        except FileNotFoundError:
            return []
        self.offset += len(data)
        head, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        return head.split(b"\n") if newline else []


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
