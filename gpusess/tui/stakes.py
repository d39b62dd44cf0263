"""What ending a session would take away, and what goes on billing: the words of the dialog that asks. Pure
functions over the board's views.
"""

from __future__ import annotations

from collections.abc import Collection

from gpusess.sessions.board import FleetView, RunView, SessionView
from gpusess.sessions.states import State
from gpusess.tui import fmt

Said = tuple[str, str]
"""A sentence and its ink."""
_MOST = 3
"""Runs that are named; of more there is the number."""


def at_stake(session: SessionView, at_home: Collection[str] = ()) -> list[Said]:
    """at_home: names of the present run's checkpoints on this disk."""
    ending = _ending(session)
    if session.row.state is State.TERMINATING:
        return ending
    begun = [run for run in session.runs if run.row.status != "pending"]
    if not begun:
        return [*ending, ("No run has begun: there is nothing to lose.", "dim")]
    found = [said for run in begun[-_MOST:] for said in _of_run(run)]
    if session.run:
        found += _checkpoints(session.run, at_home)
    waiting = [run.row.name for run in session.runs if run.row.status == "pending"]
    if waiting:
        names = waiting[0] if len(waiting) == 1 else f"{len(waiting)} more runs"
        found.append((f"{names} would not begin.", "warn"))
    if session.stale is not None or session.needs_driver:
        found.append(("The mirror is not up to date: there may be more on the instance.", "warn"))
    return [*ending, *found]


def has_begun(session: SessionView) -> bool:
    """Whether there is anything that could be pulled."""
    return any(run.row.status != "pending" for run in session.runs)


def bill(session: SessionView) -> Said:
    """What it costs, and until when."""
    row = session.row
    if not session.bills:
        return "bills nothing", "dim"
    if not row.price:
        return "costs nothing", "dim"
    rate = f"then {fmt.money(row.price)}/h until {row.provider} says it is gone"
    return f"{fmt.money(session.spent)} so far, {rate}", "warn"


def bills_on(session: SessionView, fleet: FleetView) -> list[Said]:
    """What the others cost, whatever becomes of this one."""
    others = [s for s in fleet.sessions if s.bills and s.row.id != session.row.id and s.row.price]
    if not others:
        return []
    rate = fmt.money(sum(s.row.price for s in others))
    goes = "bills" if len(others) == 1 else "bill"
    return [(f"{fmt.many(len(others), 'other session')} {goes} on: {rate}/h.", "dim")]


def _ending(session: SessionView) -> list[Said]:
    since = fmt.clock(session.now - session.row.since)
    if session.row.state is State.DRAINING:
        return [(f"Its results have been coming home for {since}; then it is given back.", "info")]
    if session.row.state is State.TERMINATING:
        return [(f"It has been given back for {since}; {session.row.provider} has not confirmed it.", "info")]
    return []


def _of_run(run: RunView) -> list[Said]:
    state, name = run.state, run.row.name
    total = fmt.count(state.total)
    home = f"step {fmt.count(state.done)} of {total} is home" if state.train else ""
    home = home or f"{fmt.count(state.done)} of {fmt.many(state.total, 'result')} are home"
    if not state.total:
        home = "no result so far"
    if run.row.status != "running":
        return [(f"{name}: {run.row.status}, {home}.", "" if state.outcome else "warn")]
    flight = f", {fmt.count(state.in_flight)} in flight" if state.in_flight and not state.train else ""
    return [(f"{name}: {home}{flight}. It goes on, and would end unfinished.", "warn")]


def _checkpoints(run: RunView, at_home: Collection[str]) -> list[Said]:
    train = run.state.train
    if train is None:
        return []
    if not train.checkpoints:
        return [("It has saved no checkpoint.", "warn")]
    newest = train.checkpoints[-1].name
    if newest in at_home:
        return [(f"Its newest checkpoint, {newest}, is at home.", "")]
    return [(f"Its newest checkpoint, {newest}, is not at home.", "err")]
