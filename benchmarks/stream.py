"""From a record durable on the instance to its being in the mirror at home, and to its being drawn.

Real processes beside this one: a writer on a local instance, a driver that follows it over SSH, and the
cockpit (`gpusess attach`) on a pseudo terminal, whose output is read here: a record is drawn when the
terminal has got a number of results that includes it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from statistics import median
from typing import Any

import psutil

from benchmarks import worlds
from benchmarks.machine import PROGRAM, BenchmarkBroken, Terminal, Wakeups, data_folder, quantile, run
from benchmarks.rows import Line, Note, Row

RATE, BATCH = 1000, 10
STREAM_LIMIT, DRAWN_LIMIT = 20.0, 300.0
"""Milliseconds, 99th percentile."""
WARM_UP = 1.0
"""Seconds of the run that are not counted: the first frames start everything."""

_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;:?<>=]*[a-zA-Z]|[\]P][^\x07\x1b]*(?:\x07|\x1b\\))")


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    seconds = 6 if quick else 20
    total = RATE * seconds
    with data_folder() as home, worlds.live_session(), Wakeups() as machine:
        worlds.write_mirror("journal.jsonl", [])
        out = home / "stream.json"
        terminal = Terminal([*PROGRAM, "attach", worlds.NAME], os.environ)
        try:
            terminal.wait_for(worlds.NAME.encode())
            app = psutil.Process(terminal.process.pid)
            before = sum(app.cpu_times()[:2])
            run(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.stream_driver",
                    str(total),
                    str(RATE),
                    str(BATCH),
                    str(out),
                ]
            )
            time.sleep(1.0)
            cockpit = sum(app.cpu_times()[:2]) - before
            drawn = _drawn(terminal.painted, total)
        finally:
            terminal.kill()
        found: dict[str, Any] = json.loads(out.read_text())
        late = machine.late
    moments = [m for m in found["moments"] if m[3] > found["moments"][0][3] + WARM_UP]
    streamed = [max(0.0, s) for s in _latencies([(m[1], m[3]) for m in moments], found["arrivals"])]
    handed = _latencies([(m[1], m[2]) for m in moments], found["arrivals"])
    seen = _latencies([(m[0], m[3]) for m in moments], drawn)
    rate = (moments[-1][0] - moments[0][0]) / (moments[-1][3] - moments[0][3])
    yield Row("durable to mirror, p99", quantile(streamed, 0.99), STREAM_LIMIT, "ms", digits=1)
    yield Note(
        f"median {median(streamed):.1f}, max {max(streamed):.0f} ms; with the write to the disk: "
        f"median {median(handed):.1f}, p99 {quantile(handed, 0.99):.0f} ms; {rate:.0f} records/s"
    )
    yield Row("durable to drawn, p99", quantile(seen, 0.99), DRAWN_LIMIT, "ms", digits=0)
    yield Note(
        f"median {median(seen):.0f}, max {max(seen):.0f} ms; cpu: driver {found['cpu']:.1f} s, "
        f"cockpit {cockpit:.1f} s of {seconds} s; sleepers woke {quantile(late, 0.99):.1f} ms late (p99)"
    )


def _latencies(marks: Sequence[tuple[float, float]], reached: Sequence[Sequence[float]]) -> list[float]:
    """ms from each (level, time) to when that level was reached, of (level, time) pairs in order of time."""
    levels = list(accumulate((level for level, _ in reached), max))
    found = []
    for level, begin in marks:
        at = bisect_left(levels, level)
        if at == len(levels):
            raise BenchmarkBroken(f"{level} of {marks[-1][0]} was never reached; the last was {levels[-1:]}")
        found.append(1000 * (reached[at][1] - begin))
    return found


def _drawn(painted: Sequence[tuple[float, bytes]], total: int) -> list[tuple[int, float]]:
    """(results, time) of each progress line `1,204 / 20,000` as the terminal got it whole."""
    shown = re.compile(rb"([\d,]+) / " + f"{total:,}".encode())
    found, rest = [], b""
    for at, data in painted:
        text = _ESCAPES.sub(b"", rest + data)
        last = None
        for last in shown.finditer(text):
            found.append((int(last[1].replace(b",", b"")), at))
        rest = text[last.end() if last else 0 :][-200:]
    return found
