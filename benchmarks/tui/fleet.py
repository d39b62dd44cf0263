"""Fifty sessions whose runs go on, four records a second each; and nothing happening at all."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks import worlds
from benchmarks.machine import PROGRAM, ROOT, Terminal, data_folder
from benchmarks.rows import Line, Note, Row
from benchmarks.tui.driving import Meter, Taken

SESSIONS, RATE = 50, 4
CPU_LIMIT, BYTES_LIMIT, IDLE_LIMIT = 10.0, 20.0, 0.5
SETTLE = 4.0


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    seconds = 10.0 if quick else 30.0
    with data_folder(), worlds.live_fleet(SESSIONS):
        terminal = Terminal([*PROGRAM, "attach"], os.environ)
        try:
            terminal.wait_for(worlds.name_of(SESSIONS - 1).encode())
            with _growing():
                busy = _watch(terminal, seconds)
            rows = _rows(terminal)
        finally:
            terminal.kill()
    yield Row("50 sessions at 4 Hz: cpu", busy.percent, CPU_LIMIT, "%", digits=1)
    yield Row("50 sessions at 4 Hz: painted", busy.painted / 1000, BYTES_LIMIT, "kB/s", digits=1)
    yield Note(f"Fleet at 120×40, {rows} of {SESSIONS} rows have room, over {seconds:.0f} s")
    yield from _idle(seconds)


def _idle(seconds: float) -> Iterator[Line]:
    with data_folder(), worlds.live_session(ended=19):
        worlds.write_mirror("journal.jsonl", worlds.opening(1319))
        worlds.write_mirror("journal.jsonl", [worlds.result(i) for i in range(800)], first=3)
        worlds.write_mirror("events.jsonl", [worlds.heartbeat(0)])
        for screen, arguments in (("Fleet", ["attach"]), ("Run", ["attach", worlds.NAME])):
            terminal = Terminal([*PROGRAM, *arguments], os.environ)
            try:
                terminal.wait_for(b"800" if screen == "Run" else worlds.NAME.encode())
                idle = _watch(terminal, seconds)
            finally:
                terminal.kill()
            yield Row(f"idle: cpu, {screen}", idle.percent, IDLE_LIMIT, "%")
            yield Note(
                f"a live session and nothing arriving, over {seconds:.0f} s; {idle.painted:.0f} bytes/s"
            )


def _rows(terminal: Terminal) -> int:
    """How many sessions the table shows at once. Their names may be cut: a row is one by its state."""
    before = len(terminal.painted)
    terminal.press(b"T")  # another theme: all of the screen is painted anew
    time.sleep(1.5)
    painted = b"".join(data for _, data in terminal.painted[before:])
    found = re.findall(rb"\x1b\[(\d+);1H((?:(?!\x1b\[\d+;\d+H)[^\r])*)", painted)
    return len({row for row, text in found if "● running".encode() in text and b"cedar-wren-" in text})


def _watch(terminal: Terminal, seconds: float) -> Taken:
    time.sleep(SETTLE)
    meter = Meter(terminal)
    time.sleep(seconds)
    return meter.taken()


@contextlib.contextmanager
def _growing() -> Iterator[None]:
    """Every session's journal grows, in a process beside us."""
    command = [sys.executable, "-m", "benchmarks.tui.fleet_writer", str(SESSIONS), str(RATE)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield
    finally:
        process.kill()
        process.wait()
