"""Words that name keys. A text asks here for the key of an action, so that it follows the user's own table;
what cannot be done from this cockpit (a replay, one that only looks) is not offered.
"""

from __future__ import annotations

from typing import NamedTuple

from textual._context import active_app

from gpusess.tui.keys import Keys, shown

ACTING = frozenset(
    {"session.terminate", "session.resume", "session.shell", "fleet.launch", "fleet.unknown", "train.steer"}
)
"""What acts on an instance, or costs money."""


class Hints(NamedTuple):
    """What an app keeps for this module, as its `hints`."""

    keys: dict[str, str]
    acts: bool
    """Whether ACTING can be done at all."""


def of(keys: Keys, *, acts: bool) -> Hints:
    return Hints({key.id: shown(key.keys) for key in keys.table}, acts)


_BUILT_IN = of(Keys(), acts=True)


def key(id: str) -> str:
    """The key of an action, as a person would name it."""
    return _now().keys[id]


def acts() -> bool:
    return _now().acts


def _now() -> Hints:
    """Those of the app that draws; without one the built-in keys."""
    found = getattr(active_app.get(None), "hints", None)
    return found if isinstance(found, Hints) else _BUILT_IN


def ways(*offered: tuple[str, str]) -> str:
    """` (r resume, x terminate)` of (action id, what it does); empty where none of them can be done."""
    return f" ({found})" if (found := listed(*offered)) else ""


def listed(*offered: tuple[str, str]) -> str:
    """The same without brackets."""
    possible = [(id, what) for id, what in offered if acts() or id not in ACTING]
    return ", ".join(f"{key(id)} {what}" for id, what in possible)
