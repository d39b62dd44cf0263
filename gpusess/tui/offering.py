"""Which actions of the table of keys do something now. A key that does nothing here is neither in the footer
nor in the palette; what it says when it is pressed all the same is the action's own business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpusess.sessions.states import ENDED, State
from gpusess.tui import hints, status
from gpusess.tui.keys import TABLE

if TYPE_CHECKING:
    from gpusess.tui.app import CockpitApp

ON_SESSIONS = frozenset({"resume", "terminate", "shell", "session", "launch", "copy", "zoom"})
"""Actions on the session that is looked at: not while another one is being made."""


def _name(action: str) -> str:
    """Without its namespace and what it is called with."""
    return action.rpartition(".")[2].partition("(")[0]


ACTS = frozenset(_name(key.action) for key in TABLE if key.id in hints.ACTING)
"""What a cockpit that only looks does not offer; asked all the same, it says why not."""


def possible(app: CockpitApp, action: str) -> bool:
    """Whether footer and palette offer it. action: with its namespace, as the table has it."""
    name = _name(action)
    if app.looks_only and name in ACTS:
        return False
    screen = app.base_screen()  # what is meant, with the palette over it too
    if action.startswith("focused."):
        return screen is not None and hasattr(screen.focused, f"action_{name}")
    if action.startswith("screen.") and screen:
        return screen.can(name) and screen.check_action(name, ()) is not False
    return app.check_action(name, ()) is not False


def takes(app: CockpitApp, name: str) -> bool:
    """Whether an action of the app itself is taken at all."""
    session, screen = app.session, app.base_screen()
    if name in ON_SESSIONS and screen is not None and screen.id == "wizard":
        return False
    if name == "shell" and app.is_web:
        return False  # a tab has no terminal to lend
    if name == "resume":
        failed = session is not None and session.row.state is State.FAILED
        return bool(session and (session.needs_driver or failed or session.waits))
    if name in ("terminate", "shell"):
        return bool(session and session.row.state not in ENDED)
    if name in ("zoom", "copy"):
        return bool(session)
    if name == "alarm":
        return any(map(status.needs_somebody, app.fleet.sessions))
    return name != "stranger" or bool(app.fleet.strangers)
