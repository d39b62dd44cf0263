"""`gpusess resume`, `pull` and `terminate`: what a user asks of a session that exists."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gpusess.cli.complete import session_names
from gpusess.errors import SessionError

if TYPE_CHECKING:
    from gpusess.sessions.store import Store


@click.command("resume")
@click.argument("session", required=False, shell_complete=session_names)
@click.option("--headless", is_flag=True, help="Progress lines on stderr, a summary on stdout.")
@click.option("--detach", is_flag=True, help="Start it and return at once.")
@click.option("--force", is_flag=True, help="Go on where answer formats disagree; the numbers are marked.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object (implies --headless).")
def resume(session: str | None, headless: bool, detach: bool, force: bool, as_json: bool) -> int:
    """Go on with what is missing of SESSION (default: the newest one).

    A cut-off session gets a driver again; if its instance is gone, a new one is launched and is given what is
    at home, so that only the rest is computed.
    """
    from gpusess.cli.up import show
    from gpusess.sessions import start

    store = start.open_store()
    row = store.find(session)
    if force:
        store.update(row.id, options={**row.options, "force": True})
    start.resume(store, row.id)
    if detach:
        return 0
    return show(store, row.id, headless=headless or as_json, as_json=as_json, only_new=True)


@click.command("pull")
@click.argument("session", required=False, shell_complete=session_names)
def pull(session: str | None) -> int:
    """Bring home what is still on the instance of SESSION (default: the newest one).

    While a session is driven its results come home by themselves, as they are made.
    """
    from gpusess.sessions import start
    from gpusess.sessions.board import Board
    from gpusess.sessions.driver_lock import DriverLock, is_driven
    from gpusess.sessions.summary import summary_lines

    store = start.open_store()
    row = store.find(session)
    if row.endpoint is not None and row.ended is None and not is_driven(row.id):
        from gpusess.sessions.pulling import pull_all

        lock = DriverLock(row.id)
        try:
            asyncio.run(pull_all(store, row.id))
        finally:
            lock.release()
    view = Board(store).refresh(budget=1 << 40).session(row.id)
    assert view is not None
    click.echo("\n".join(summary_lines(view)))
    return 0


@click.command("terminate")
@click.argument("session", required=False, shell_complete=session_names)
@click.option("--now", is_flag=True, help="Do not bring the results home first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--detach", is_flag=True, help="Do not wait for the provider's confirmation.")
def terminate(session: str | None, now: bool, yes: bool, detach: bool) -> int:
    """Bring the results of SESSION home and give its instance back (default: the only one that lives)."""
    from gpusess.cli import watch
    from gpusess.sessions import start
    from gpusess.sessions.states import State

    store = start.open_store()
    if session is None:
        alive = [s.name for s in store.sessions() if s.state is not State.TERMINATED]
        if not alive:
            raise SessionError("no session lives: there is nothing to end")
        if len(alive) != 1:
            raise SessionError(f"{len(alive)} sessions live: {', '.join(alive)}", "name the one to end")
        session = alive[0]
    row = store.find(session)
    what = (
        "give it back now, without what has not come home"
        if now
        else "bring its results home, then give it back"
    )
    for line in _at_stake(store, row.id, now):
        click.echo(line, err=True)
    if not yes and not click.confirm(f"{row.name} ({row.job}, ${row.price:.2f}/h): {what}?", default=False):
        return 1
    start.ask_to_terminate(store, row.id, pull=not now)
    if detach:
        return 0
    view = watch.watch(store, row.id, only_new=True, to_the_end=True)
    watch.print_summary(view, as_json=False)
    return 0 if view.row.state is State.TERMINATED else 1


def _at_stake(store: Store, session_id: str, now: bool) -> Iterator[str]:
    """What is home of each run that has begun, and what would be lost."""
    from gpusess.sessions.board import Board

    view = Board(store).refresh(budget=1 << 40).session(session_id)
    for run in view.runs if view else []:
        state = run.state
        if run.row.status == "pending" or not state.total:
            continue
        line = f"{run.row.name}: {state.done} of {state.total} results are home"
        if run.row.status == "running":
            flight = f", {state.in_flight} are in flight" if state.in_flight else ""
            line += f"{flight}; the run would end unfinished"
        if now and state.done < state.total:
            line += "; what has not come home is lost"
        yield line
