"""What a session is in one glyph and one word, where it is on its way, and what deserves an alarm. Pure
functions over the board's views.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gpusess.analysis.text import clean
from gpusess.sessions.board import FleetView, SessionView
from gpusess.sessions.states import STARTING, State
from gpusess.tui import fmt, hints
from gpusess.tui.spans import Line

IDLE_AFTER = 10.0
"""Seconds after which an instance on which nothing runs is an alarm: between two runs it is no longer."""
_ENDING = {State.DRAINING: "pulling", State.TERMINATING: "ending"}


class Status(NamedTuple):
    """Never the colour alone: a glyph and a word say the same."""

    glyph: str
    word: str
    ink: str

    def line(self) -> Line:
        return [(f"{self.glyph} {self.word}", self.ink)]


def of(session: SessionView) -> Status:
    """The worst thing that is true of the session, else its state."""
    state, run = session.row.state, session.run
    if state is State.FAILED:
        return Status("✗", "failed", "err")
    if state is State.TERMINATED:
        return _ended(session)
    if session.needs_driver:
        return Status("▲", "cut off", "warn")
    if _idle(session):
        return Status("▲", "idle", "warn")
    if run and run.damage:
        return Status("▲", "damaged", "err")
    if run and run.state.paused:
        return Status("‖", "paused", "warn")
    if run and run.state.restart_in is not None and run.row.status == "running":
        return Status("◐", "restarting", "warn")
    if run and run.catching_up:
        return Status("◐", "reading", "info")
    if _silent(session):
        return Status("▲", "silent", "warn")
    if state in STARTING:
        return Status("◐" if state is not State.REQUESTED else "○", state.value, "info")
    if state in (State.DRAINING, State.TERMINATING):
        return Status("◐", _ENDING[state], "info")
    return Status("●", state.value, "ok")


def _ended(session: SessionView) -> Status:
    bad = [r.row.status for r in session.runs if r.row.status in ("failed", "stopped")]
    if bad:
        return Status("✗" if "failed" in bad else "■", f"run {bad[0]}", "dim")
    return Status("✓", "done", "dim")


def word_of(session: SessionView) -> str:
    """What it is doing, whatever else may be wrong with it."""
    return _ENDING.get(session.row.state, session.row.state.value)


def _idle(session: SessionView) -> bool:
    """Kept with nothing to do, and it costs money."""
    row = session.row
    if row.state is not State.READY or not session.driven or not session.bills or not row.price:
        return False
    waits = any(run.row.status in ("pending", "running") for run in session.runs)
    return not waits and session.now - row.since > IDLE_AFTER


def _silent(session: SessionView) -> bool:
    """An instance that is being given back has no reason to speak."""
    return session.stale is not None and session.row.state is not State.TERMINATING


def phase(session: SessionView) -> Line:
    """What it is doing now, and for how long where that is worth knowing."""
    run, state = session.run, session.row.state
    if state is State.TERMINATED:
        return []
    if state is State.FAILED:
        return [(session.row.detail or "failed", "err")]
    if state is State.RUNNING and run:
        if run.state.restart_in is not None:
            return [(f"attempt {run.state.attempt + 1} next", "warn")]
        return [(run.state.phase or "starting", "")]
    return [(fmt.clock(session.now - session.row.since), ""), (f" {session.row.detail}", "dim")]


def gpu(session: SessionView) -> str:
    """2×H100 SXM, or cpu; a dash before there is an offer."""
    offer = session.row.offer
    if not offer:
        return fmt.NONE
    if not offer.get("gpu"):
        return "cpu"
    return f"{offer.get('gpus') or 1}×{offer['gpu']}"


def result(session: SessionView) -> Line:
    """The number that it is all about, dimmed where it may be out of date."""
    run = session.run
    if session.row.state is State.FAILED:
        return [(session.row.error or "failed", "err")]
    if not run or run.state.accuracy is None:
        return []
    ink = "dim" if session.stale is not None or session.kind == "done" else ""
    return [
        ("acc ", "dim"),
        (fmt.percent(run.state.accuracy), ink if ink else f"{ink} bold"),
        (f" {fmt.plus_minus(run.state.band)}", "dim"),
        *([(" forced", "warn")] if run.state.forced else []),
    ]


def load(session: SessionView) -> str:
    """GPU utilisation where there is a GPU, else the CPU's."""
    run = session.run
    if not run or not run.state.telemetry or session.kind == "done":
        return ""
    sample = run.state.telemetry[-1]
    values = [g["util"] for g in sample.gpus if g.get("util") is not None]
    return f"{sum(values) / len(values) if values else sample.cpu:.0f}%"


def alarms(fleet: FleetView, day_budget: float | None, here: str | None = None) -> Iterator[tuple[str, str]]:
    """(ink, one line) for each thing that somebody should know of, worst first.

    here: the id of the session that keys act on. What is wrong with another one says how to get there.
    """
    failed = [s for s in fleet.sessions if s.row.state is State.FAILED and s.bills]
    for session in failed:
        text = f"✗ {_name(session)}: failed and still bills {_rate(session)}"
        yield "err", f"{text}{_ways(session, here, RESUME, END)}"
    if day_budget and fleet.spent_today > day_budget:
        yield "err", f"▲ today's budget is spent: {fmt.money(fleet.spent_today)} of {fmt.money(day_budget)}"
    if fleet.strangers:
        what = f"{fmt.many(len(fleet.strangers), 'instance')} that nobody here knows"
        rate = fmt.money(sum(s.instance.price for s in fleet.strangers))
        yield "warn", f"▲ {what}: {rate}/h{hints.ways(('fleet.unknown', 'in Fleet asks'))}"
    for session in fleet.sessions:
        if session not in failed and (found := _trouble(session)):
            yield "warn", f"▲ {_name(session)}: {found.text}{_ways(session, here, *found.keys)}"


def needs_somebody(session: SessionView) -> bool:
    """Whether an alarm is about this session."""
    return bool((session.row.state is State.FAILED and session.bills) or _trouble(session))


def next_in_need(fleet: FleetView, here: SessionView | None) -> SessionView | None:
    """The next session, after the one that is looked at, that an alarm is about."""
    every = fleet.sessions
    at = every.index(here) + 1 if here in every else 0
    return next((s for s in [*every[at:], *every[:at]] if needs_somebody(s)), None)


def trouble(session: SessionView) -> str:
    """What is wrong with a session that has not failed, and the keys for it; empty: nothing."""
    found = _trouble(session)
    return f"{found.text}{hints.ways(*found.keys)}" if found else ""


class Trouble(NamedTuple):
    """What is wrong, and what helps: (action id, what it does)."""

    text: str
    keys: tuple[tuple[str, str], ...] = ()


RESUME, END = ("session.resume", "resume"), ("session.terminate", "terminate")
_LOG = ("screen.logs", "the log")


def _ways(session: SessionView, here: str | None, *keys: tuple[str, str]) -> str:
    if here is not None and session.row.id != here:
        return hints.ways(("session.alarm", "goes there"))
    return hints.ways(*keys)


def _trouble(session: SessionView) -> Trouble | None:
    run = session.run
    bill = f", it bills {_rate(session)}" if session.bills else ""
    if session.bills and session.row.options.get("notice"):
        return Trouble(f"the provider takes the instance away: {session.row.options['notice']}")
    if _idle(session):
        since = fmt.clock(session.now - session.row.since)
        return Trouble(f"nothing has run for {since}{bill}", (*((RESUME,) if session.waits else ()), END))
    if session.needs_driver:
        return Trouble(f"cut off: nobody drives this session{bill}", (RESUME, END))
    if session.kind in ("done", "failed") or not run:
        return None
    state = run.state
    if run.damage:
        return Trouble(run.damage)
    if state.paused:
        return Trouble(f"paused: {state.paused}{bill}", (_LOG, END))
    if state.restart_in is not None and run.row.status == "running":
        again = fmt.clock(state.restart_in)
        return Trouble(f"the worker died {state.crashes}×, it starts again in {again}", (_LOG,))
    if session.stale is not None and _silent(session):
        # A link that is being opened again says what it has met, and when it tries next.
        connecting = session.row.state is State.CONNECTING and session.row.detail
        why = f": {session.row.detail}" if connecting else ""
        return Trouble(f"no heartbeat for {fmt.age(session.stale)}{why}{bill}", (_LOG, END))
    if collapse := state.train.alarm if state.train else None:
        shows = ("screen.train", "shows it")
        return Trouble(f"collapse at step {collapse.step}: {collapse.message}", (shows,))
    results = ("screen.results", "the results")
    return Trouble(f"alarm: {state.alarm.message}", (results, END)) if state.alarm else None


def _name(session: SessionView) -> str:
    return clean(session.row.name, 32)


def _rate(session: SessionView) -> str:
    return f"{fmt.money(session.row.price)}/h"
