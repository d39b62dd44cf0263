"""What is asked before something ends, or before the app is left: which dialog, and what each answer asks of
the session's own process. The dialogs themselves are in dialogs.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpusess.sessions.board import RunView, SessionView
from gpusess.sessions.strangers import Stranger
from gpusess.tui.dialogs import HelpScreen, quit_dialog, stranger_dialog, terminate_dialog

if TYPE_CHECKING:
    from gpusess.tui.app import CockpitApp

_OF_STRANGERS = {"adopt": "adopted", "terminate": "adopted; asked to terminate", "ignore": "shown no more"}


def terminate(app: CockpitApp, session: SessionView) -> None:
    """Terminate, pull first, or stop the run only."""
    run = session.run
    session_id, run_id = session.row.id, run.row.id if run else ""

    def answered(answer: str | None) -> None:
        if answer == "stop":
            app.ask(lambda: app.intents.stop_run(session_id, run_id), "asked the run to stop")
        elif answer in ("pull", "now"):
            pull = answer == "pull"
            said = "asked to pull and terminate" if pull else "asked to terminate"
            app.ask(lambda: app.intents.terminate(session_id, pull), said)

    at_home = _checkpoints_at_home(run) if run and run.state.train else set()
    app.push_screen(terminate_dialog(session, app.fleet, app.keys, at_home), answered)


def _checkpoints_at_home(run: RunView) -> set[str]:
    from remote_agent import checkpoints

    return {made.name for made in checkpoints.whole(run.mirror)}


def stranger(app: CockpitApp, unknown: Stranger) -> None:
    """What to do with an instance that nobody here knows."""
    provider, instance_id = unknown.provider, unknown.instance.id

    def answered(answer: str | None) -> None:
        if answer in _OF_STRANGERS:
            app.ask(
                lambda: app.intents.stranger(provider, instance_id, answer),
                f"{instance_id}: {_OF_STRANGERS[answer]}",
            )

    app.push_screen(stranger_dialog(unknown, app.keys), answered)


def leave(app: CockpitApp) -> None:
    """Leave at once where nothing bills; else say what goes on billing."""
    if not app.fleet.strangers and not any(session.bills for session in app.fleet.sessions):
        app.exit()
        return
    app.push_screen(
        quit_dialog(app.fleet, app.keys), lambda answer: app.exit() if answer == "leave" else None
    )


def show_help(app: CockpitApp, screen: str) -> None:
    app.push_screen(HelpScreen(app.keys, screen))
