"""The Logs screen: every source of a session merged by time, with filters and a search."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from gpusess.tui.keys import bindings
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.spans import Line, joined, spread
from gpusess.tui.widgets.filter_line import FilterLine
from gpusess.tui.widgets.log_view import LEVELS, LogView
from gpusess.tui.widgets.pane import Pane

SOURCES = ("", "local", "ssh", "setup", "agent", "worker")


class LogHead(Pane, can_focus=False):
    """What is shown and whether it follows."""

    def key(self, scene: Scene) -> Hashable:
        view = self.screen.query_one(LogView)
        return scene.session and scene.session.row.id, view.filter, str(view.badge), self._count(scene)

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        view = self.screen.query_one(LogView)
        name = scene.session.row.name if scene.session else "no session"
        level = "all levels" if view.filter.level == "DEBUG" else f"{view.filter.level.lower()} and worse"
        parts: list[Line] = [
            [(f" {name}", "bold")],
            [(f"{self._count(scene):,} lines", "dim")],
            [(level, "dim" if view.filter.level == "DEBUG" else "warn")],
            [(view.filter.source or "all sources", "warn" if view.filter.source else "dim")],
        ]
        return [spread(joined(parts, " · "), [*view.badge, (" ", "")], width)]

    @staticmethod
    def _count(scene: Scene) -> int:
        return scene.book.dropped + len(scene.book.lines) if scene.book else 0


class LogsScreen(CockpitScreen):
    BINDINGS: ClassVar[list[BindingType]] = bindings("logs")
    NEEDS_LOGS: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("logs")

    @property
    def view(self) -> LogView:
        return self.query_one(LogView)

    def compose_body(self) -> ComposeResult:
        yield LogHead(id="loghead")
        yield LogView(id="log")
        yield FilterLine("/", "text to find; n and N go through the matches")

    def on_mount(self) -> None:
        self.view.focus()

    def show(self, scene: Scene) -> None:
        for view in self.query(LogView):
            view.take(scene.book)
        super().show(scene)

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        self.view.search(message.text)
        self.cockpit.tick()

    def can(self, action: str) -> bool:
        book = self.cockpit.scene.book if self.cockpit.scene else None
        return bool(book and book.lines) and (action != "match" or bool(self.view.find))

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def action_match(self, direction: int) -> None:
        if not self.view.next_match(direction):
            self.cockpit.say("no match" if self.view.find else "/ begins a search")
        self.cockpit.tick()

    def action_level(self) -> None:
        at = LEVELS.index(self.view.filter.level)
        self._narrow(LEVELS[(at + 1) % len(LEVELS)], self.view.filter.source)

    def action_source(self) -> None:
        at = SOURCES.index(self.view.filter.source)
        self._narrow(self.view.filter.level, SOURCES[(at + 1) % len(SOURCES)])

    def go_back(self) -> bool:
        return super().go_back() or self.query_one(FilterLine).clear() or self._unfiltered()

    def text_to_copy(self) -> str:
        return self.view.text

    def _unfiltered(self) -> bool:
        if (self.view.filter.level, self.view.filter.source) == ("DEBUG", ""):
            return False
        self._narrow("DEBUG", "")
        return True

    def _narrow(self, level: str, source: str) -> None:
        self.view.narrow(level, source)
        self.cockpit.tick()
