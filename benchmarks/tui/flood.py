"""10,000 records a second arriving, a live chart and a table of a million rows on one screen.

The mirror is a real file that a process beside us makes longer, 100 results each 10 ms; the cockpit's own
board reads it. Meanwhile keys move the table's cursor.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import worlds
from benchmarks.machine import ROOT, BenchmarkBroken, Terminal, Wakeups, data_folder, quantile
from benchmarks.rows import Line, Note, Row
from benchmarks.tui.driving import Meter, pauses, pressed
from gpusess.sessions.mirror import RunMirror

RATE, BATCH = 10_000, 100
KEY_LIMIT, CPU_LIMIT, LOST_LIMIT = 30.0, 12.0, 0
WARM_UP = 2.0
APP = [sys.executable, "-m", "benchmarks.tui.flood_app"]


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    seconds = 12 if quick else 40
    total = RATE * seconds
    with data_folder(), worlds.live_session(), Wakeups() as machine:
        worlds.write_mirror("journal.jsonl", worlds.opening(total))
        worlds.write_mirror("events.jsonl", [worlds.heartbeat(0)])
        journal = worlds.mirror("journal.jsonl")
        with writer(journal, 0, total, RATE, BATCH) as writing:
            terminal = Terminal(APP, os.environ)
            try:
                terminal.wait_for(b"row 0000000")
                writing.start()
                time.sleep(WARM_UP)
                meter = Meter(terminal)
                keys = _keys(terminal, seconds - WARM_UP - 1.0)
                taken = meter.taken()
                wrote = writing.seconds()
                shown = _last_counts(terminal, total)
            finally:
                terminal.kill()
        lost = _lost(journal, total, shown)
    yield Row("flood: key to painted row, p95", quantile(keys, 0.95), KEY_LIMIT, "ms", digits=1)
    yield Row("flood: cpu", taken.percent, CPU_LIMIT, "%", digits=1)
    yield Row("flood: results lost or doubled", lost, LOST_LIMIT, "", digits=0)
    yield Note(
        f"{total:,} results in {wrote:.1f} s, {total / wrote:,.0f}/s; "
        f"{taken.painted / 1000:.1f} kB/s painted; {len(keys)} keys: median {median(keys):.1f}, "
        f"max {max(keys):.0f} ms; "
        f"sleepers woke {quantile(machine.late, 0.95):.1f} ms late (p95)"
    )


def _keys(terminal: Terminal, seconds: float) -> list[float]:
    """Move down, row by row, for so long; ms to each painted row."""
    found: list[float] = []
    end = time.monotonic() + seconds
    for number, pause in enumerate(pauses(10_000, 0.1, 0.3), 1):
        if time.monotonic() > end:
            break
        time.sleep(pause)
        found.append(pressed(terminal, b"j", f"row {number:07}".encode()))
    return found


def _last_counts(terminal: Terminal, total: int) -> Counter[str]:
    """What the screen says in the end of right and wrong ones."""
    terminal.wait_for(f"{total:,}".encode(), 30.0)
    time.sleep(1.0)
    before = len(terminal.painted)
    terminal.press(b"T")  # another theme: all of the screen is painted anew
    time.sleep(1.0)
    painted = b"".join(data for _, data in terminal.painted[before:])
    text = re.sub(rb"\x1b(?:\[[0-9;:?<>=]*[a-zA-Z]|[\]P][^\x07\x1b]*(?:\x07|\x1b\\))", b" ", painted)
    found: Counter[str] = Counter()
    for word, number in re.findall(rb"(right|wrong) +([\d,]+) ", text):
        found[word.decode()] = int(number.replace(b",", b""))
    return found


def _lost(journal: Path, total: int, shown: Counter[str]) -> int:
    """Results that the file has and the screen has not, or the other way round."""
    rights = sum(1 for n in range(total) if worlds.result(n)["verdict"] == "right")
    mirror = RunMirror(journal.parent)
    while mirror.refresh():
        pass
    there = mirror.state
    if (there.done, there.right, mirror.damage) != (total, rights, ""):
        raise BenchmarkBroken(
            f"written {total}, in the file {there.done}, right {there.right}; {mirror.damage}"
        )
    return abs(rights - shown["right"]) + abs(total - rights - shown["wrong"])


class Writing:
    """A writer in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def seconds(self) -> float:
        """Wait for its end; how long it wrote."""
        assert self._process.stdout
        return float(self._process.stdout.readline())


@contextlib.contextmanager
def writer(journal: Path, first: int, total: int, rate: float, batch: int) -> Iterator[Writing]:
    """A writer that has made its lines and waits for the word."""
    command = [sys.executable, "-m", "benchmarks.tui.writer", *map(str, (journal, first, total, rate, batch))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout
        if process.stdout.readline().strip() != "ready":
            raise BenchmarkBroken("the writer did not start")
        yield Writing(process)
    finally:
        process.kill()
        process.wait()
