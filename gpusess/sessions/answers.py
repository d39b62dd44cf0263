"""Reading a run's mirror into columns: what `compare`, `report` and `regrade` work on.

Results are decoded without their long texts, everything else is folded into the run's state as usual. The
mirror is only read.
"""

from __future__ import annotations

import gc
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gpusess.analysis.answers import Answers, SampleIndex, Slim
from gpusess.analysis.run_state import RunState, fold
from gpusess.errors import SessionError
from gpusess.sessions import verified
from gpusess.sessions.find_runs import RunPlace
from remote_agent.files import EVENTS, JOURNAL
from remote_agent.journal import BadLine, Record, decode

CHUNK = 1 << 18
"""Bytes read at once. What is decoded of them stays in the processor's cache: larger blocks are slower."""
_ANSWERS = {"result", "failed", "scored"}
_FREQUENT = {*_ANSWERS, "begin"}
_CRC_TAIL = 18
"""Bytes at a line's end that its checksum leaves out: `,"crc":"89abcdef"}`."""


@dataclass(slots=True)
class RunData:
    """One run, read. `state` holds all but the results: the plan, the checks, how it ended."""

    label: str
    folder: Path
    state: RunState
    answers: Answers


def read_run(label: str, folder: Path, index: SampleIndex) -> RunData:
    """Read a mirror. Raises SessionError where there is none, or a line of it is damaged."""
    if not (folder / JOURNAL).is_file():
        raise SessionError(f"{label} has no results at home", "`gpusess status` shows what has come home")
    trusted, checksum = verified.remembered(folder)
    with _without_collection(), ThreadPoolExecutor(1) as pool:
        # The checksum is computed beside the decoding: it leaves the interpreter free.
        found = pool.submit(verified.checksum, folder, trusted) if trusted else None
        data = _read(label, folder, index, trusted)
        if found is not None and found.result() != checksum:
            (folder / verified.FILE).unlink(missing_ok=True)
            data = _read(label, folder, index, 0)
    if (folder / EVENTS).is_file():
        for record in _records(folder / EVENTS):
            fold(data.state, record)
    return data


def _read(label: str, folder: Path, index: SampleIndex, trusted: int) -> RunData:
    """trusted: bytes whose lines need no check of their own."""
    data = RunData(label, folder, RunState(), Answers(index))
    reader = _Reader(data, trusted)
    for block in _blocks(folder / JOURNAL):
        reader.take(block)
    if reader.length > trusted:
        verified.remember(folder, reader.length)
    return data


def read_runs(places: Sequence[RunPlace]) -> list[RunData]:
    """Several runs with one index of their samples."""
    index = SampleIndex()
    return [read_run(place.label, place.folder, index) for place in places]


def read_results(place: RunPlace) -> tuple[Record, Iterator[Record]]:
    """A run's `planned` record, and its whole `result` records one by one. Raises SessionError."""
    journal = place.folder / JOURNAL
    if not journal.is_file():
        raise SessionError(
            f"{place.label} has no results at home", "`gpusess status` shows what has come home"
        )
    records = _records(journal)
    for record in records:
        if record["kind"] == "planned":
            return record, (r for r in records if r["kind"] == "result")
    raise SessionError(f"{place.label} has no plan: it never began to evaluate", "`gpusess logs` says why")


def _records(path: Path) -> Iterator[Record]:
    number = 0
    for block in _blocks(path):
        for line in block.split(b"\n"):
            number += 1
            try:
                yield decode(line)
            except BadLine as exc:
                raise _damaged(path, number, exc) from None


def _damaged(path: Path, line: int, why: BadLine) -> SessionError:
    hint = "`gpusess pull` brings a whole copy while the instance lives"
    return SessionError(f"{path}, line {line}: {why}", hint)


class _Reader:
    """Takes the journal's blocks in their order."""

    def __init__(self, data: RunData, trusted: int) -> None:
        self._data = data
        self._decoder = msgspec.json.Decoder(Slim)
        self._trusted = trusted
        self._lines = 0
        self.length = 0
        """Bytes taken so far."""

    def take(self, block: bytes) -> None:
        """Whole lines, without the last one's newline."""
        if self.length + len(block) >= self._trusted:
            self._check(block.split(b"\n"))
        records = self._decoded(block)
        if any(record.kind not in _FREQUENT for record in records if not record.verdict):
            self._fold(block, records)
        self._data.answers.accept(records)
        self._lines += len(records)
        self.length += len(block) + 1

    def _decoded(self, block: bytes) -> list[Slim]:
        try:
            return self._decoder.decode_lines(block)
        except msgspec.DecodeError:
            # A text with half a surrogate pair, or a kind whose fields differ: the slow way reads it.
            return [self._slow(line) for line in block.split(b"\n")]

    def _fold(self, block: bytes, records: list[Slim]) -> None:
        """What is neither an answer nor the beginning of a batch goes into the run's state."""
        for line, record in zip(block.split(b"\n"), records, strict=True):
            if record.kind not in _FREQUENT:
                fold(self._data.state, decode(line))
        self._data.answers.several = self._data.state.candidates > 1

    def _check(self, lines: list[bytes]) -> None:
        crc32, tail = zlib.crc32, -_CRC_TAIL
        try:
            if all(crc32(line[:tail]) == int(line[-10:-2], 16) for line in lines):
                return
        except ValueError:
            pass
        for number, line in enumerate(lines, self._lines + 1):
            try:
                decode(line)
            except BadLine as exc:
                raise _damaged(self._data.folder / JOURNAL, number, exc) from None

    @staticmethod
    def _slow(line: bytes) -> Slim:
        record = decode(line)
        if record["kind"] not in _ANSWERS:
            return Slim(kind=record["kind"], ts=record["ts"])
        return msgspec.convert(record, Slim)


def _blocks(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, a block at a time; a half line at its end is left out."""
    rest = b""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            head, newline, tail = chunk.rpartition(b"\n")
            if newline:
                yield rest + head
                rest = tail
            else:
                rest += chunk


@contextmanager
def _without_collection() -> Iterator[None]:
    """Decoding makes no cycles, and looking for them would take most of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
