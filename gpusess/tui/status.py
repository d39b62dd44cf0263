"""What a session is in one glyph and one word, where it is on its way, and what deserves an alarm. Pure
functions over the board's views.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gpusess.sessions.board import FleetView, SessionView
from gpusess.sessions.states import STARTING, State
from gpusess.tui import fmt
from gpusess.tui.spans import Line

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
    if run and run.damage:
        return Status("▲", "damaged", "err")
    if run and run.state.paused:
        return Status("‖", "paused", "warn")
    if run and run.state.restart_in is not None and run.row.status == "running":
        return Status("◐", "restarting", "warn")
    if run and run.catching_up:
        return Status("◐", "reading", "info")
    if session.stale is not None:
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


def alarms(fleet: FleetView, day_budget: float | None) -> Iterator[tuple[str, str]]:
    """(ink, one line) for each thing that somebody should know of, worst first."""
    failed = [s for s in fleet.sessions if s.row.state is State.FAILED and s.bills]
    for session in failed:
        yield "err", f"✗ {session.row.name}: failed and still bills {_rate(session)} (r resume, x terminate)"
    if day_budget and fleet.spent_today > day_budget:
        yield "err", f"▲ today's budget is spent: {fmt.money(fleet.spent_today)} of {fmt.money(day_budget)}"
    if fleet.strangers:
        many = len(fleet.strangers)
        what = (
            "1 instance that nobody here knows" if many == 1 else f"{many} instances that nobody here knows"
        )
        yield "warn", f"▲ {what}: {fmt.money(sum(s.instance.price for s in fleet.strangers))}/h (u asks)"
    for session in fleet.sessions:
        if session not in failed and (text := trouble(session)):
            yield "warn", f"▲ {session.row.name}: {text}"


def trouble(session: SessionView) -> str:
    """What is wrong with a session that has not failed; empty: nothing."""
    run = session.run
    if session.bills and session.row.options.get("notice"):
        return f"the provider takes the instance away: {session.row.options['notice']}"
    if session.needs_driver:
        bill = f", it bills {_rate(session)}" if session.bills else ""
        return f"cut off: nobody drives this session{bill} (r resume, x terminate)"
    if session.kind in ("done", "failed") or not run:
        return ""
    if run.damage:
        return run.damage
    if run.state.paused:
        return f"paused: {run.state.paused}"
    if run.state.restart_in is not None and run.row.status == "running":
        return f"the worker died {run.state.crashes}×, it starts again in {fmt.clock(run.state.restart_in)}"
    if session.stale is not None:
        return f"no heartbeat for {fmt.age(session.stale)}"
    collapse = run.state.train.alarm if run.state.train else None
    if collapse:
        return f"collapse at step {collapse.step}: {collapse.message} (4 shows it)"
    return f"alarm: {run.state.alarm.message}" if run.state.alarm else ""


def _rate(session: SessionView) -> str:
    return f"{fmt.money(session.row.price)}/h"
