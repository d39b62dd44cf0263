"""`gpusess attach`: the cockpit, on one session or on all of them."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

import click

from gpusess.analysis.text import clean
from gpusess.cli.complete import session_names
from gpusess.errors import SessionError
from gpusess.sessions.board import Board, FleetView, SessionView

if TYPE_CHECKING:
    from gpusess.sessions.store import Store
    from gpusess.tui.app import CockpitApp
    from gpusess.tui.intents import Intents
    from gpusess.tui.settings import TuiSettings


@click.command("attach")
@click.argument("session", required=False, shell_complete=session_names)
def command(session: str | None) -> int:
    """Open the cockpit on SESSION (a name or id), or on all sessions.

    Leaving it stops nothing.
    """
    from gpusess.sessions.start import open_store

    if not sys.stdout.isatty():
        raise SessionError("the cockpit needs a terminal", "`gpusess status` and `gpusess logs -f` need none")
    store = open_store()
    open_cockpit(store.find(session).id if session else None)
    return 0


def open_cockpit(session_id: str | None) -> SessionView:
    """Run the cockpit until it is left; the session as it stands then (the newest one without an id)."""
    from gpusess.sessions.start import open_store

    store = open_store()
    make_app(store, session_id).run()
    fleet = Board(store).refresh()
    view = fleet.session(session_id) if session_id else next(iter(fleet.sessions), None)
    for line in goes_on(fleet):
        click.echo(line, err=True)
    if view is None:
        sys.exit(0)
    return view


def make_app(store: Store, session_id: str | None, *, look_only: bool = False) -> CockpitApp:
    """The cockpit, ready to run. look_only: whatever would act or cost money is refused."""
    follow_the_window()
    # Importing makes a hundred thousand objects and no garbage; the app collects again after its first paint.
    gc.disable()
    from gpusess.sessions.intents import DriverIntents
    from gpusess.tui.app import CockpitApp

    intents: Intents = DriverIntents(store)
    if look_only:
        from gpusess.tui.looking import LookOnly

        intents = LookOnly(intents)
    return CockpitApp(Board(store), intents, session_id=session_id, settings=settings())


def follow_the_window() -> None:
    """Forget a size that the environment names: it would count for more than the terminal's own, and the
    cockpit would keep it whatever becomes of its window. Call it before the app is made."""
    if sys.stdout.isatty():
        for name in ("COLUMNS", "LINES"):
            os.environ.pop(name, None)


def settings() -> TuiSettings:
    """The cockpit's settings. Reading them costs a third of the first paint: only where there are any."""
    from gpusess import paths
    from gpusess.tui.settings import TuiSettings

    names = ("GPUSESS_DAILY_BUDGET", "GPUSESS_THEME", "GPUSESS_ASCII", "GPUSESS_KEYS")
    if not paths.config_file().exists() and not any(name in os.environ for name in names):
        return TuiSettings()
    from gpusess.config import load_settings

    found = load_settings()
    return TuiSettings(found.theme, found.ascii, found.keys, found.daily_budget)


def goes_on(fleet: FleetView) -> list[str]:
    """What leaving leaves behind: every session that bills, failed ones included, and what nobody knows."""
    lines = []
    billing = [session for session in fleet.sessions if session.bills]
    if billing:
        names = ", ".join(clean(session.row.name) for session in billing[:4])
        more = f" and {len(billing) - 4} more" if len(billing) > 4 else ""
        cost = f"${fleet.burn:.2f}/h" if fleet.burn else "at no cost"
        lines.append(f"{'goes' if len(billing) == 1 else 'go'} on, {cost}: {names}{more}")
    if fleet.strangers:
        rate = sum(stranger.instance.price for stranger in fleet.strangers)
        lines.append(f"bills beside that, ${rate:.2f}/h: what nobody here knows (`gpusess instances`)")
    return lines
