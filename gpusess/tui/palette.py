"""The command palette's source: every action of the table that is possible here, by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from gpusess.tui.app import CockpitApp
from gpusess.tui.keys import Key, shown


class Commands(Provider):
    """The same actions as the keys, with the keys beside them."""

    async def discover(self) -> Hits:
        for key in self._keys():
            yield DiscoveryHit(_title(key), self._call(key), help=key.description)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self._keys():
            text = f"{_title(key)}: {key.description}"
            if (score := matcher.match(text)) > 0:
                yield Hit(score, matcher.highlight(text), self._call(key))

    def _keys(self) -> list[Key]:
        app = cast(CockpitApp, self.app)
        found = app.keys.of("app", str(self.screen.id), "list")
        return [key for key in found if key.id != "palette" and app.possible(key.action)]

    def _call(self, key: Key) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            await self.app.run_action(key.action, self.screen)

        return run


def _title(key: Key) -> str:
    return f"{key.label} ({shown(key.keys)})"
