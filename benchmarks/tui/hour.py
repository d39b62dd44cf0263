"""An hour's worth of 10,000 records a second: what the board keeps of 36 million, read as fast as it can.

The records are real journal lines of a run; the file behind the reader is given back to the disk as it goes,
so that 17 GB are never there at once. What is drawn from the board is measured in `flood`.
"""

from __future__ import annotations

import ctypes
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks import worlds
from benchmarks.machine import data_folder
from benchmarks.rows import Line, Note, Row, Skipped
from gpusess.sessions.mirror import RunMirror
from remote_agent.journal import encode

HOUR, PART = 36_000_000, 50_000
GROWTH_LIMIT = 4.0
"""MiB from the second twentieth to the end: a list of one number a record would take hundreds."""
LIMIT = 0
_PUNCH_HOLE, _KEEP_SIZE = 2, 1


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group. Quick: a tenth of the hour."""
    total = HOUR // 10 if quick else HOUR
    with data_folder():
        journal = worlds.mirror("journal.jsonl")
        if not _can_give_back(journal):
            yield Skipped("hour: memory", "this disk cannot give back the part of a file that was read")
            return
        grown, lost, seconds, peak = _read(journal, total)
    yield Row("hour: memory grown", max(0.0, grown), GROWTH_LIMIT, "MiB", digits=1)
    yield Row("hour: results lost or doubled", lost, LIMIT, "", digits=0)
    yield Note(
        f"{total:,} records of {HOUR:,}, folded in {seconds:.0f} cpu s "
        f"({1e6 * seconds / total:.1f} µs each); {peak:.0f} MiB in the end"
    )


def _read(journal: Path, total: int) -> tuple[float, int, float, float]:
    """(MiB grown after the first twentieth, results off, cpu seconds of folding, MiB at the end)."""
    journal.write_bytes(b"".join(encode(r, seq, 1e9) for seq, r in enumerate(worlds.opening(total))))
    mirror, process = RunMirror(journal.parent), psutil.Process()
    body = encode(worlds.result(1), 0, 1e9)
    body = body[body.index(b'"kind"') : body.rindex(b',"crc"')]
    cpu, settled = 0.0, 0.0
    with journal.open("ab") as file:
        for first in range(0, total, PART):
            file.writelines(_line(body, n) for n in range(first, min(first + PART, total)))
            file.flush()
            before = time.process_time()
            while mirror.refresh():
                pass
            cpu += time.process_time() - before
            _give_back(file.fileno(), mirror.length)
            if not settled and first >= total // 20:
                settled = process.memory_info().rss / (1 << 20)
    now = process.memory_info().rss / (1 << 20)
    state = mirror.state
    return now - settled, abs(total - state.done) + abs(total - state.right), cpu, now


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
