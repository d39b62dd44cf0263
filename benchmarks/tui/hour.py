"""An hour's worth of 10,000 records a second: what the cockpit keeps of 36 million, read as fast as it can.

The records are real journal lines of a run; the file behind the reader is given back to the disk as it goes,
so that 17 GB are never there at once. What the cockpit takes at the pace itself is measured in `flood`.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import worlds
from benchmarks.machine import BenchmarkBroken, Terminal, data_folder
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.tui.driving import Meter
from benchmarks.tui.hour_app import WORD
from remote_agent.journal import encode

HOUR, PART, AHEAD = 36_000_000, 50_000, 4
"""Records; those that are written at once; so many such parts the writer may be ahead of the cockpit."""
GROWTH_LIMIT = 4.0
"""MiB from the first tenth to the end: a list of one number a record would take hundreds."""
LIMIT = 0
PATIENCE = 60.0
"""Seconds without a further record, after which the measurement is given up."""
_PUNCH_HOLE, _KEEP_SIZE = 2, 1


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group. Quick: a tenth of the hour."""
    total = HOUR // 10 if quick else HOUR
    with data_folder() as folder, worlds.live_session():
        journal = worlds.mirror("journal.jsonl")
        if not _can_give_back(journal):
            yield Skipped("hour: memory", "this disk cannot give back the part of a file that was read")
            return
        found = _read(journal, folder / "word", total)
    settled, end = found.memory[1], found.memory[-1]
    yield Row("hour: memory grown", max(0.0, end - settled), GROWTH_LIMIT, "MiB", digits=1)
    yield Row("hour: results lost or doubled", found.lost, LIMIT, "", digits=0)
    pace = f"{found.cpu:.0f} of them cpu ({1e6 * found.cpu / total:.1f} µs each)"
    yield Note(f"{total:,} records of {HOUR:,}, read by the cockpit in {found.seconds:.0f} s, {pace}")
    tenths = " ".join(f"{mib:.1f}" for mib in found.memory[1::2])
    yield Note(f"its memory: {found.memory[0]:.1f} MiB after a twentieth, {tenths} after each tenth")


@dataclass(slots=True)
class _Found:
    lost: int = 0
    """Results that the cockpit does not know in the end, or knows twice."""
    seconds: float = 0.0
    cpu: float = 0.0
    memory: list[float] = field(default_factory=list)
    """Resident MiB of the cockpit after each twentieth."""


def _read(journal: Path, word: Path, total: int) -> _Found:
    journal.write_bytes(b"".join(encode(r, seq, 1e9) for seq, r in enumerate(worlds.opening(total))))
    word.write_bytes(WORD.pack(0, 0))
    terminal = Terminal([sys.executable, "-m", "benchmarks.tui.hour_app", str(word)], os.environ)
    try:
        terminal.wait_for(worlds.NAME.encode())
        meter, begin = Meter(terminal), time.monotonic()
        found = _feed(journal, word, total, meter)
        found.seconds = time.monotonic() - begin
        found.cpu = meter.taken().percent * found.seconds / 100
        done, right = WORD.unpack(word.read_bytes())
        found.lost = abs(total - done) + abs(total - right)
    finally:
        terminal.kill()
    return found


def _feed(journal: Path, word: Path, total: int, meter: Meter) -> _Found:
    """Write as fast as the cockpit reads, and give back what it has read."""
    body = encode(worlds.result(1), 0, 1e9)
    body = body[body.index(b'"kind"') : body.rindex(b',"crc"')]
    found, written, ends = _Found(), 0, deque[tuple[int, int]]()
    heard, read = time.monotonic(), 0
    with journal.open("ab") as file:
        while read < total:
            if written < total and len(ends) < AHEAD:
                last = min(written + PART, total)
                file.writelines(_line(body, n) for n in range(written, last))
                file.flush()
                written = last
                ends.append((written, file.tell()))
            else:
                time.sleep(0.005)
            before, (read, _) = read, WORD.unpack(word.read_bytes())
            heard = time.monotonic() if read > before else heard
            if time.monotonic() - heard > PATIENCE:
                raise BenchmarkBroken(f"the cockpit stands still at {read:,} of {written:,} records")
            while ends and ends[0][0] <= read:
                _give_back(file.fileno(), ends.popleft()[1])
            while len(found.memory) < 20 * read // total:
                found.memory.append(meter.memory)
    return found


def _line(body: bytes, number: int) -> bytes:
    """A result of its own time and number, as `encode` would write it, in a tenth of the time."""
    raw = b'{"v":1,"seq":%d,"ts":%.3f,' % (number + 3, 1e9 + number / 10_000) + body
    return raw + b',"crc":"%08x"}\n' % zlib.crc32(raw)


def _give_back(fd: int, length: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    whole = ctypes.c_long(length // 4096 * 4096)
    return bool(libc.fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_long(0), whole) == 0)


def _can_give_back(path: Path) -> bool:
    path.write_bytes(bytes(8192))
    fd = os.open(path, os.O_RDWR)
    try:
        return hasattr(ctypes.CDLL(None), "fallocate") and _give_back(fd, 8192)
    finally:
        os.close(fd)
        path.unlink()
