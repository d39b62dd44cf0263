"""A person at the terminal: keys that are pressed, how long until what they ask for is painted, and what the
program takes meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import psutil

from benchmarks.machine import BenchmarkBroken, Terminal


def pressed(terminal: Terminal, key: bytes, text: bytes, patience: float = 10.0) -> float:
    """Press a key; ms until `text` has been painted after it. Raises BenchmarkBroken."""
    before = len(terminal.painted)
    begin = time.time()
    terminal.press(key)
    while time.time() - begin < patience:
        # Two pieces at a time: the text may lie across the edge between them.
        pieces = terminal.painted[before:]
        tail = b""
        for at, data in pieces:
            if text in tail + data:
                return 1000 * (at - begin)
            tail = (tail + data)[-len(text) :]
        time.sleep(0.001)
    said = b"".join(data for _, data in terminal.painted[before:])
    raise BenchmarkBroken(f"{text!r} was not painted {patience:.0f} s after {key!r}: {said[-600:]!r}")


def pauses(count: int, least: float, most: float) -> Sequence[float]:
    """Seconds between keys: even chances, so that keys meet every phase of the app's ticks."""
    random = Random(7)
    return [random.uniform(least, most) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process took over a span of time."""

    seconds: float
    percent: float
    """CPU of one core."""
    painted: float
    """Bytes a second sent to the terminal."""


class Meter:
    """Weighs the terminal's process from its making on."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.process = psutil.Process(terminal.process.pid)
        self._begin, self._cpu, self._painted = time.monotonic(), self._used(), terminal.sent

    def taken(self) -> Taken:
        seconds = time.monotonic() - self._begin
        percent = 100 * (self._used() - self._cpu) / seconds
        return Taken(seconds, percent, (self._terminal.sent - self._painted) / seconds)

    @property
    def memory(self) -> float:
        """Resident MiB now."""
        return float(self.process.memory_info().rss) / (1 << 20)

    def _used(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)
