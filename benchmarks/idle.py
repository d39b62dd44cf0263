"""What the cockpit takes while nothing happens but the heartbeats of a connected session."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psutil

from benchmarks import worlds
from benchmarks.machine import PROGRAM, Terminal, data_folder
from benchmarks.rows import Line, Note, Row

LIMIT = 1.0
"""Percent of one core."""
SETTLE = 4.0
HEARTBEAT = 2.0


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    seconds = 10.0 if quick else 30.0
    with data_folder(), worlds.live_session():
        worlds.write_mirror("journal.jsonl", worlds.opening(1319))
        worlds.write_mirror("journal.jsonl", [worlds.result(i) for i in range(800)], first=3)
        worlds.write_mirror("events.jsonl", [worlds.heartbeat(0)])
        terminal = Terminal([*PROGRAM, "attach", worlds.NAME], os.environ)
        try:
            terminal.wait_for(b"800")
            percent, painted = _watch(terminal, seconds)
        finally:
            terminal.kill()
    yield Row("cockpit, idle cpu", percent, LIMIT, "%")
    yield Note(
        f"over {seconds:.0f} s on the Run screen, a heartbeat each {HEARTBEAT:.0f} s, {painted:.0f} bytes/s"
    )


def _watch(terminal: Terminal, seconds: float) -> tuple[float, float]:
    """(percent of one core, bytes painted a second) of the settled app, while heartbeats come."""
    app = psutil.Process(terminal.process.pid)
    begin = time.monotonic()
    number, measured_from, cpu, painted = 1, 0.0, 0.0, 0
    while True:
        time.sleep(HEARTBEAT)
        worlds.write_mirror("events.jsonl", [worlds.heartbeat(number)], first=number)
        number += 1
        now = time.monotonic()
        if not measured_from and now - begin >= SETTLE:
            measured_from, cpu, painted = now, _cpu(app), len(terminal.screen)
        elif measured_from and now - measured_from >= seconds:
            taken = now - measured_from
            return 100 * (_cpu(app) - cpu) / taken, (len(terminal.screen) - painted) / taken


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
