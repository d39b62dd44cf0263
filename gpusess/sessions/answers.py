"""Reading a run's mirror into columns: what `compare`, `report` and `regrade` work on.

Results come from the run's index, everything else is folded into the run's state as usual. The mirror is only
read, and all of it: a number is never of bytes that were changed since they were indexed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpusess.analysis.answers import Answers, SampleIndex
from gpusess.analysis.result_building import FrameBuilder
from gpusess.analysis.run_state import RunState, fold
from gpusess.errors import SessionError
from gpusess.sessions.find_runs import RunPlace
from gpusess.sessions.result_index import ResultIndex
from remote_agent.files import EVENTS, JOURNAL
from remote_agent.journal import BadLine, Record, decode, encode

CHUNK = 1 << 18
"""Bytes read at once."""
_FREQUENT = {"result", "failed", "scored", "begin"}
_OF_SWEEPS = {"swept", "passed_over"}
HINT = "`gpusess pull` brings a whole copy while the instance lives"


@dataclass(slots=True)
class RunData:
    """One run, read. `state` holds all but the results: the plan, the checks, how it ended."""

    label: str
    folder: Path
    state: RunState
    answers: Answers


def read_run(label: str, folder: Path, index: SampleIndex, arm: str = "") -> RunData:
    """Read a mirror; of a sweep, one checkpoint's part. Raises SessionError where there is none, or a line of
    it is damaged."""
    if not (folder / JOURNAL).is_file():
        raise SessionError(f"{label} has no results at home", "`gpusess status` shows what has come home")
    data = RunData(label, folder, RunState(), Answers(index))
    with _without_collection():
        if arm:
            _take_arm(data, arm)
        else:
            _take_all(data)
    if (folder / EVENTS).is_file():
        for record in _records(folder / EVENTS):
            fold(data.state, record)
    return data


def _take_all(data: RunData) -> None:
    with ResultIndex(data.folder) as results:
        _make_sure(results)
        for frame in results.frames:
            for record in results.others_of(frame):
                fold(data.state, record)
            data.answers.several = data.state.candidates > 1
            data.answers.take(frame)


def _make_sure(results: ResultIndex) -> None:
    """All of the mirror is in the index, and what the index remembers of it is still there byte for byte."""
    remembered = results.rows > 0
    results.read_all()
    if remembered and not results.checksum_holds():
        results.discard()
        results.read_all()
    if results.damage:
        raise SessionError(results.damage, HINT)


def _take_arm(data: RunData, arm: str) -> None:
    """A sweep's journal holds other checkpoints as well: this one's part is taken as a run of its own."""
    builder = FrameBuilder()
    for seq, record in enumerate(_of_arm(_records(data.folder / JOURNAL), arm)):
        if record["kind"] not in _FREQUENT:
            fold(data.state, record)
            data.answers.several = data.state.candidates > 1
        plain = {name: value for name, value in record.items() if name != "crc"}
        builder.take([encode(plain, seq, record["ts"])[:-1]])
        if builder.full:
            data.answers.take(builder.frame(0)[0])
            builder = FrameBuilder()
    data.answers.take(builder.frame(0)[0])


def read_runs(places: Sequence[RunPlace]) -> list[RunData]:
    """Several runs with one index of their samples."""
    index = SampleIndex()
    return [read_run(place.label, place.folder, index, place.arm) for place in places]


def read_results(place: RunPlace) -> tuple[Record, Iterator[Record]]:
    """A run's `planned` record, and its whole `result` records one by one. Raises SessionError."""
    journal = place.folder / JOURNAL
    if not journal.is_file():
        raise SessionError(
            f"{place.label} has no results at home", "`gpusess status` shows what has come home"
        )
    records = iter(list(_of_arm(_records(journal), place.arm))) if place.arm else _records(journal)
    for record in records:
        if record["kind"] == "planned":
            return record, (r for r in records if r["kind"] == "result")
    raise SessionError(f"{place.label} has no plan: it never began to evaluate", "`gpusess logs` says why")


def _of_arm(records: Iterator[Record], arm: str) -> Iterator[Record]:
    """What a sweep's journal says of one checkpoint, as if it had been evaluated alone."""
    start = f"{arm}/"
    for record in records:
        if record["kind"] in ("result", "failed"):
            if record["sample"].startswith(start):
                yield {**record, "sample": record["sample"].removeprefix(start)}
        elif record["kind"] not in _OF_SWEEPS and record.get("arm", arm) == arm:
            yield record


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
    return SessionError(f"{path}, line {line}: {why}", HINT)


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
