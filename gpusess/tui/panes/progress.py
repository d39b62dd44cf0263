"""Lines that several panes share: the progress of a run, and what is wrong with a session."""

from __future__ import annotations

from collections.abc import Mapping

from gpusess.sessions.board import RunView, SessionView
from gpusess.sessions.phases import Usual, phases
from gpusess.sessions.states import STARTING, State
from gpusess.tui import fmt, hints, status
from gpusess.tui.spans import Line, joined, width, wrapped
from gpusess.tui.widgets.meter import bar

_INKS = {"complete": "ok", "failed": "err", "stopped": "warn"}


def progress_line(session: SessionView, run: RunView, cells: int) -> Line:
    """1,204 / 1,319 ━━━━━━━━╸── 91.3%   ETA 2:41   18.4k tok/s."""
    state = run.state
    if not state.total:
        return [(state.phase or run.row.status, "info"), (f"  {state.phase_detail}", "dim")]
    share = state.done / state.total
    head: Line = [(fmt.count(state.done), "bold"), (f" / {fmt.count(state.total)} ", "dim")]
    parts = [[(f" {fmt.percent(share)}%", "bold")], eta_part(session, run), *_pace(session, run)]
    # What has no room goes as a whole: a number without its unit says nothing.
    while len(parts) > 1 and width(head) + width(joined(parts, "   ")) > cells - 12:
        parts.pop()
    tail = joined(parts, "   ")
    ink = "warn" if session.stale is not None else _INKS.get(state.outcome or "", "ok")
    return [*head, *bar(share, max(4, min(140, cells - width(head) - width(tail))), ink), *tail]


def eta_part(session: SessionView, run: RunView) -> Line:
    """The time that is left, or how the run has ended."""
    if run.state.outcome:
        return [(run.state.outcome, f"{_INKS.get(run.state.outcome, 'dim')} bold")]
    if run.row.status not in ("running", "pending"):
        return [(run.row.status, _INKS.get(run.row.status, "dim"))]
    left = time_left(session, run)
    return [("ETA ", "dim"), (fmt.clock(left), "dim" if session.stale is not None else "bold")]


def time_left(session: SessionView, run: RunView) -> float | None:
    """Seconds to the end at the present pace; None where nobody knows."""
    finish = run.state.finish
    halted = run.state.paused or run.state.restart_in is not None or session.kind in ("failed", "done")
    return None if finish is None or halted else finish - session.now


def _pace(session: SessionView, run: RunView) -> list[Line]:
    state = run.state
    if session.stale is not None:
        return [[(f"? {fmt.age(session.stale)} old", "warn")]]
    if state.outcome or state.tokens_per_second is None:
        return []
    pace: list[Line] = [[(fmt.compact(state.tokens_per_second), "bold"), (" tok/s", "dim")]]
    if state.results_per_second:
        pace.append(_rate(state.results_per_second, training=state.train is not None))
    return pace


def _rate(per_second: float, *, training: bool) -> Line:
    if training:
        return [(f"{1 / per_second:.3g}", "bold"), (" s/step", "dim")]
    return [(f"{per_second:.2f}", "bold"), (" results/s", "dim")]


def waiting_lines(session: SessionView, known: Mapping[str, Usual], cells: int) -> list[Line]:
    """What is being waited for, for how long, how long it usually takes, and what that costs meanwhile; empty
    where the session is not on its way."""
    if session.row.state not in (*STARTING, State.DRAINING, State.TERMINATING):
        return []
    found = next((phase for phase in phases(session) if phase.mark == "present"), None)
    if found is None or found.seconds is None:
        return []
    text: Line = [(f"{status.word_of(session)} ", "info"), (fmt.clock(found.seconds), "bold")]
    if usually := known.get(found.name):
        others = fmt.many(usually.sessions, "other")
        text.append((f"   usually {fmt.clock(usually.seconds)} ({others})", "dim"))
    if session.bills:
        text.append((f"   bills {fmt.money(session.row.price)}/h", "dim"))
    lines = [text]
    if session.row.detail:
        lines += wrapped(session.row.detail, "", cells, 2)
    return lines


def more_line(count: int, thing: str, things: str = "") -> Line:
    """Where not all lines have room."""
    many = fmt.many(count, f"more {thing}", f"more {things or thing + 's'}")
    return [(f"{many} ({hints.key('pane.next')} to here, {hints.key('pane.zoom')} zooms)", "dim")]


def asked_lines(run: RunView, now: float, cells: int) -> list[Line]:
    """What was asked of the run, from here or elsewhere, and is not done."""
    found = []
    for asked in run.asked:
        glyph, ink = ("▲", "warn") if asked.dropped else ("◐", "info")
        text = f"{glyph} asked to {asked.what}, {fmt.clock(now - asked.at)} ago: {asked.stands}"
        found += wrapped(text, ink, cells, 2)
    return found


def trouble_lines(session: SessionView, cells: int, rows: int = 3) -> list[Line]:
    """The error with its hint, or whatever else needs somebody's eye; empty: nothing does."""
    row = session.row
    lines: list[Line] = []
    if row.error and session.kind != "done":
        lines += wrapped(f"✗ {row.error}", "err", cells, rows)
        lines += wrapped(f"  {row.hint}" if row.hint else "", "warn", cells, 2) if row.hint else []
    if row.state is State.FAILED and session.bills:
        ways = hints.listed(status.RESUME, status.END)
        lines.append([(f"▲ still bills {fmt.money(row.price)}/h", "err bold"), (f"  {ways}", "dim")])
    elif text := status.trouble(session):
        lines += wrapped(f"▲ {text}", "warn", cells, rows)
    run = session.run
    if run and run.state.alarm:
        if session.kind in ("done", "failed"):  # else it is the trouble that was shown above
            lines += wrapped(f"▲ alarm: {run.state.alarm.message}", "warn", cells, rows)
        lines += (
            wrapped(f"  maybe: {run.state.alarm.causes[0]}", "warn", cells, 2)
            if run.state.alarm.causes
            else []
        )
    if run and run.state.message and run.state.outcome in ("failed", "stopped"):
        lines += wrapped(f"✗ {run.state.message}", "err", cells, rows)
    return lines + (asked_lines(run, session.now, cells) if run else [])
