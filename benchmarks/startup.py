"""Start-up: `gpusess --help`, `gpusess status` over a store of 20 sessions, and the cockpit's first paint."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from statistics import median

from benchmarks import worlds
from benchmarks.machine import PROGRAM, BenchmarkBroken, Terminal, data_folder, run, spread
from benchmarks.rows import Line, Note, Row

HELP_LIMIT, STATUS_LIMIT, PAINT_LIMIT = 0.15, 0.25, 0.35
SESSIONS, RESULTS = 20, 1000
RECORDED = {"sky --help": 2.2, "dstack --help": 1.2}
"""CPU seconds of peers on another day and machine (two cores, the same Python); not measured here."""

COCKPIT = """
from gpusess.cli.attach import make_app
from gpusess.sessions.start import open_store

app = make_app(open_store(), None)
settle = app._settle
app._settle = lambda: (settle(), app.exit())
app.run()
"""
"""What `gpusess attach` does, and the end right after the first paint."""

MINIMAL = """
from textual.app import App
from textual.widgets import Static

class Minimal(App):
    def compose(self):
        yield Static("minimal")

    def on_mount(self):
        self.call_after_refresh(self.exit)

Minimal().run()
"""
"""The least that a Textual app can be: this machine's floor."""


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group, as they come."""
    rounds = 5 if quick else 11
    with data_folder(), world():
        yield from _commands(rounds)
        yield from first_paint(rounds)


@contextlib.contextmanager
def world() -> Iterator[None]:
    """20 sessions, one of them running with 1,000 results."""
    with worlds.live_session(ended=SESSIONS - 1):
        worlds.write_mirror("journal.jsonl", worlds.opening(RESULTS))
        worlds.write_mirror("journal.jsonl", [worlds.result(i) for i in range(RESULTS)], first=3)
        worlds.write_mirror("events.jsonl", [worlds.heartbeat(i) for i in range(30)])
        yield


def _commands(rounds: int) -> Iterator[Line]:
    run([*PROGRAM, "--help"])
    said = run([*PROGRAM, "status"]).output
    if f"{RESULTS}/{RESULTS}" not in said:
        raise BenchmarkBroken(f"`gpusess status` shows no {RESULTS} results: {said[-600:]}")
    helps, statuses = [], []
    for _ in range(rounds):
        helps.append(run([*PROGRAM, "--help"]).cpu)
        statuses.append(run([*PROGRAM, "status"]).cpu)
    ours = median(helps)
    yield Row("gpusess --help cpu", ours, HELP_LIMIT, "s")
    for peer, cpu in RECORDED.items():
        yield Row(f"  beside {peer}", ours, cpu, "s", against="recorded", who="recorded")
    yield Row("gpusess status cpu, 20 sessions", median(statuses), STATUS_LIMIT, "s")
    yield Note(f"{rounds} rounds: --help {spread(helps)} s, status {spread(statuses)} s")


def first_paint(rounds: int) -> Iterator[Line]:
    """The cockpit's first paint, in a `world`."""
    ours, floor = [], []
    _paint(COCKPIT, worlds.NAME)
    for _ in range(rounds):
        ours.append(_paint(COCKPIT, worlds.NAME))
        floor.append(_paint(MINIMAL, "minimal"))
    yield Row("cockpit, first paint cpu", median(ours), PAINT_LIMIT, "s")
    yield Note(
        f"{rounds} rounds: {spread(ours)} s; a minimal Textual app beside it {median(floor):.2f} s "
        f"({spread(floor)}), ours {median(ours) / median(floor):.2f}x of that"
    )


def _paint(code: str, text: str) -> float:
    """CPU seconds of an app that ends after its first paint, which must show `text`."""
    terminal = Terminal([sys.executable, "-c", code], os.environ)
    cost = terminal.ended()
    if text.encode() not in terminal.screen:
        raise BenchmarkBroken(f"the first paint shows no {text}: {terminal.screen[-600:]!r}")
    return cost.cpu
