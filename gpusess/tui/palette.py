"""The command palette's source: every action of the table that is possible here, by its name; and every
session, run of one and theme, by theirs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from gpusess.analysis.text import clean
from gpusess.tui import status
from gpusess.tui.app import CockpitApp
from gpusess.tui.keys import Key, shown
from gpusess.tui.theme import THEMES

Run = Callable[[], Awaitable[None]]

MOST = 48
"""Characters of a name."""
_OF_A_SESSION = ("session", "run", "logs", "gpu")
"""Screens that the palette can open for any session."""


class Commands(Provider):
    """The same actions as the keys, with the keys beside them; and what has no key."""

    async def discover(self) -> Hits:
        for key in self._keys():
            yield DiscoveryHit(_title(key), self._call(key), help=key.description)
        for name, run, what in self._more():
            yield DiscoveryHit(Content(name), run, text=name, help=_plain(what))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        found = [(f"{_title(key)}: {key.description}", self._call(key), "") for key in self._keys()]
        for text, run, what in [*found, *self._more()]:
            score, places = matcher.fuzzy_search.match(matcher.query, text)
            if score > 0:
                # Not the matcher's own highlighting: that takes the text for markup.
                shown = Content(text)
                for at in places:
                    shown = shown.stylize(matcher.match_style, at, at + 1)
                yield Hit(score, shown, run, text=text, help=_plain(what) if what else None)

    @property
    def cockpit(self) -> CockpitApp:
        return cast(CockpitApp, self.app)

    def _keys(self) -> list[Key]:
        app = self.cockpit
        found = app.keys.of("app", str(self.screen.id), "list")
        return [key for key in found if key.id != "palette" and app.possible(key.action)]

    def _more(self) -> Iterator[tuple[str, Run, str]]:
        """(name, what it does, in words) of what no key names."""
        for session in self.cockpit.fleet.sessions:
            state = status.of(session)
            what = f"{state.glyph} {state.word}, {clean(session.row.job, MOST)}, {session.row.provider}"
            for screen in _OF_A_SESSION:
                title = screen.capitalize() if screen != "gpu" else "GPU"
                yield f"{clean(session.row.name, MOST)} › {title}", self._go(session.row.id, screen), what
        for theme in THEMES:
            yield f"Theme: {theme.name.removeprefix('gpusess-')}", self._theme(theme.name), ""

    def _go(self, session_id: str, screen: str) -> Run:
        async def run() -> None:
            self.cockpit.selected = session_id
            self.cockpit.action_open(screen)

        return run

    def _theme(self, name: str) -> Run:
        async def run() -> None:
            self.cockpit.theme = name

        return run

    def _call(self, key: Key) -> Run:
        async def run() -> None:
            await self.app.run_action(key.action, self.screen)

        return run


def _plain(text: str) -> str:
    """A line of help that is drawn as it stands: a name is no markup, which can hold styles and links."""
    return cast(str, Content(text))  # the palette takes either


def _title(key: Key) -> str:
    return f"{key.label} ({shown(key.keys)})"
