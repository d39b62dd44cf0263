"""A million results: the Results screen opened, filtered and paged through by its keys."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from statistics import median

from benchmarks import worlds
from benchmarks.machine import PROGRAM, BenchmarkBroken, Terminal, data_folder, quantile
from benchmarks.rows import Line, Note, Row
from benchmarks.tui.driving import pressed
from remote_agent.journal import encode

RESULTS = 1_000_000
OPEN_LIMIT, FILTER_LIMIT, PAGE_LIMIT = 0.3, 0.5, 15.0
PAGES = 60
RIGHT = sum(1 for n in range(RESULTS) if n % 3)
"""As `worlds.result` has it."""


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group. Quick: a quarter of the pages, and the same million."""
    with data_folder(), worlds.live_session() as store:
        _write(RESULTS)
        store.update_run(worlds.RUN, status="complete", ended=time.time())
        first = _first_open()
        terminal = _cockpit()
        try:
            opened = _open(terminal)
            filtered = [
                _filter(terminal, text, count)
                for text, count in (("wrong", RESULTS - RIGHT), ("right", RIGHT))
            ]
            paged = _page_down(terminal, PAGES // 4 if quick else PAGES)
        finally:
            terminal.kill()
    yield Row("results: a million open", opened / 1000, OPEN_LIMIT, "s")
    yield Note(
        f"from the key to the first rows; until all are indexed, the first time ever, {first / 1000:.1f} s"
    )
    yield Row("results: a filter answers", max(filtered) / 1000, FILTER_LIMIT, "s")
    yield Row("results: page down, p95", quantile(paged, 0.95), PAGE_LIMIT, "ms", digits=1)
    yield Note(f"{len(paged)} pages: median {median(paged):.1f}, max {max(paged):.0f} ms")


def _write(count: int) -> None:
    with worlds.mirror("journal.jsonl").open("wb") as file:
        now = time.time()
        records = worlds.opening(count)
        file.writelines(encode(record, seq, now) for seq, record in enumerate(records))
        file.writelines(encode(worlds.result(n), n + len(records), now) for n in range(count))
        last = {"kind": "finished", "outcome": "complete", "message": ""}
        file.write(encode(last, count + len(records), now))
    worlds.write_mirror("events.jsonl", [worlds.heartbeat(0)])


def _cockpit() -> Terminal:
    """The cockpit on the run, all of it read."""
    terminal = Terminal([*PROGRAM, "attach", worlds.NAME], os.environ)
    terminal.wait_for(b"complete", 120.0)  # its last record
    time.sleep(2.0)
    return terminal


def _first_open() -> float:
    terminal = _cockpit()
    try:
        return pressed(terminal, b"5", f"gsm8k  {RESULTS:,}".encode(), 180.0)
    finally:
        terminal.kill()


def _open(terminal: Terminal) -> float:
    return pressed(terminal, b"5", b"test-000000", 60.0)


def _filter(terminal: Terminal, text: str, count: int) -> float:
    """ms from the last key of a filter to the count of what passes it."""
    terminal.press(b"/")
    time.sleep(1.0)
    terminal.press(b"\x7f" * 20 + text[:-1].encode())
    time.sleep(3.0)
    found = pressed(terminal, text[-1:].encode(), f"{count:,} of {RESULTS:,}".encode(), 30.0)
    terminal.press(b"\r")
    time.sleep(1.0)
    return found


def _page_down(terminal: Terminal, pages: int) -> list[float]:
    """ms to the row under the cursor, page after page."""
    time.sleep(1.0)
    found = []
    for _ in range(pages):
        before = len(terminal.painted)
        begin = time.time()
        terminal.press(b"\x04")
        at = _first_rows(terminal, before, begin)
        found.append(1000 * (at - begin))
        time.sleep(0.15)
    return found


def _first_rows(terminal: Terminal, before: int, begin: float) -> float:
    """When sample names were painted after that."""
    while time.time() - begin < 10.0:
        for at, data in terminal.painted[before:]:
            if re.search(rb"test-\d{6}", data):
                return at
        time.sleep(0.001)
    raise BenchmarkBroken("page down painted no rows")
