"""The app: one ticker asks the board for a snapshot and hands it to the visible screen; keys become
intents. It owns nothing that outlives it: leaving stops no session.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.notifications import SeverityLevel
from textual.screen import Screen

from gpusess.analysis.text import clean, clean_block
from gpusess.errors import GpusessError
from gpusess.sessions.board import Board, SessionView
from gpusess.tui import asking, hints, offering, reaching, status
from gpusess.tui.ending import end_with_terminal
from gpusess.tui.intents import Intents
from gpusess.tui.keys import Keys, bindings
from gpusess.tui.looking import LookOnly
from gpusess.tui.scene import Scene
from gpusess.tui.screens import MODES, PLACES
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.settings import TuiSettings
from gpusess.tui.theme import DARK, THEMES, Inks
from gpusess.tui.ticker import Ticker

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.driver import Driver

FIRST_LOOK, LOOK_AROUND = 3.0, 600.0
"""Seconds until the providers are first asked what they list, and between asking again."""
CATCH_UP = 0.003
"""The same while records wait on disk: keys have their turn in between."""
BUDGET = 256 << 10
"""Bytes of each journal that one look may fold: about 5 ms."""

_WIDTHS = [(0, "-slim"), (60, "-narrow"), (100, "-normal"), (160, "-wide")]
_HEIGHTS = [(0, "-flat"), (16, "-short"), (32, "-tall"), (50, "-high")]


def _commands() -> type[Provider]:
    from gpusess.tui.palette import Commands

    return Commands


class CockpitApp(App[None], inherit_bindings=False):
    """The cockpit over a board. `session_id`: open that session's run first."""

    CSS_PATH = Path(__file__).with_name("gpusess.tcss")
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = MODES
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands}
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    COMMAND_PALETTE_BINDING = "ctrl+p"
    PAUSE_GC_ON_SCROLL = True
    ALLOW_SELECT = False
    ENABLE_COMMAND_PALETTE = True
    ESCAPE_TO_MINIMIZE = False

    def __init__(
        self,
        board: Board,
        intents: Intents,
        *,
        session_id: str | None = None,
        settings: TuiSettings | None = None,
    ) -> None:
        self.settings = settings or TuiSettings()
        theme = self.settings.theme_name()
        # Its own first screen, not an empty one before it: that would cost a stylesheet and a layout more.
        self.DEFAULT_MODE = "run" if session_id else "fleet"  # type: ignore[misc]
        super().__init__(ansi_color=True if theme == "gpusess-ansi" else None)
        self._intents = intents
        self.use_keys(Keys(self.settings.keys))
        self.fleet = board.refresh(BUDGET // 4)
        self.scene: Scene | None = None
        self.frozen = False
        self.selected = session_id
        self.marked: set[str] = set()
        """Ids of the sessions that are marked in Fleet: what copying and comparing take."""
        self._board = board
        self._inks: Inks | None = None
        self._shown: tuple[object, ...] = ()
        self._reading = False
        self._ticker: Ticker | None = None
        for ours in THEMES:
            self.register_theme(ours)
        # Without its watcher: that one would apply the stylesheet a second time before the first paint.
        self.set_reactive(App.theme, theme)
        self.animation_level = "none"
        self.set_class(self.settings.ascii, "-ascii")

    def use_keys(self, keys: Keys, *, acts: bool = True) -> None:
        """The table that bindings, footer and texts go by. acts: whether anything can be asked for here."""
        self.keys = keys
        self.hints = hints.of(keys, acts=acts and not self.looks_only)

    @property
    def inks(self) -> Inks:
        if self._inks is None:
            ansi = bool(self.native_ansi_color)
            self._inks = Inks(self.theme_variables, ansi=ansi, ascii=self.settings.ascii)
        return self._inks

    @property
    def session(self) -> SessionView | None:
        """The session that is looked at: the selected one, else the first."""
        found = self.fleet.session(self.selected) if self.selected else None
        return found or (self.fleet.sessions[0] if self.fleet.sessions else None)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        # Themes of Textual's own can be chosen too: our variables must mean something in them.
        return {**DARK.variables, "ansi-background": "black", "ansi-foreground": "white"}

    def get_driver_class(self) -> type[Driver]:
        from textual.drivers.linux_driver import LinuxDriver

        from gpusess.tui.driver import PatientDriver

        found = super().get_driver_class()
        return PatientDriver if found is LinuxDriver else found

    def on_mount(self) -> None:
        self.set_keymap(self.keys.keymap)
        self.theme_changed_signal.subscribe(self, lambda _: self._retheme())
        if not self.is_headless:
            gc.disable()  # until the first paint
            end_with_terminal(self)
        self._ticker = Ticker(self, self.refresh_board)
        self.set_timer(FIRST_LOOK, self._look_around)
        self.set_interval(LOOK_AROUND, self._look_around)
        self.call_after_refresh(self._settle)
        if self.keys.unknown:
            self.say(f"unknown actions in `keys`: {', '.join(self.keys.unknown)}", severity="warning")
        if clashes := self.keys.clashes:
            self.say("\n".join(clashes), title="Keys that mean two things", severity="warning", timeout=15)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.InputEvent):
            self._shown = ()  # what a key or the mouse has changed is shown with the next tick
            if self._ticker:
                self._ticker.stir()
        await super().on_event(event)

    def refresh_board(self) -> None:
        """One look at the board. Where more waits, it is drawn when all is read, or with the next tick."""
        if self._reading or self.frozen:
            self.tick(only_news=True)
        else:
            self._read()

    def _read(self) -> None:
        if not self.frozen:
            before, self.fleet = self.fleet, self._board.refresh(BUDGET)
            if self._ticker:
                news = self.fleet.version != before.version or self.fleet.replay
                (self._ticker.stir if news else self._ticker.rest)()
        self._reading = self.fleet.catching_up and not self.frozen
        if self._reading:
            self.set_timer(CATCH_UP, self._read)
        else:
            self.tick(only_news=True)

    def tick(self, *, only_news: bool = False) -> None:
        """Hand what is known to the visible screen; with `only_news`, not when it has seen just that."""
        screen = self.base_screen()
        if screen is None:
            return
        session = self.session
        # Kept by its id: a session that appears later must not slip under the cursor.
        self.selected = session.row.id if session else self.selected
        book = self._board.logs(session.row.id) if session and screen.needs_logs else None
        self.scene = Scene(self.fleet, session, book, self.settings.day_budget, self.frozen)
        news = (
            screen,
            self.fleet.version,
            self.scene.second,
            self.selected,
            book and book.version,
            self.frozen,
        )
        # A screen that is just being opened has no panes yet; they take the scene when they have a size.
        if screen.is_mounted and (news != self._shown or not only_news):
            self._shown = news
            screen.show(self.scene)

    def look_at(self, session_id: str) -> None:
        """Select a session; every screen follows."""
        self.selected = session_id
        self.tick()

    def possible(self, action: str) -> bool:
        """Whether an action of the table does something now: what footer and palette offer."""
        return offering.possible(self, action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return offering.takes(self, action) and super().check_action(action, parameters)

    @property
    def intents(self) -> Intents:
        return self._intents

    @property
    def looks_only(self) -> bool:
        """Nothing may be written or asked for from here, not even a file."""
        return isinstance(self._intents, LookOnly)

    def may_act(self) -> bool:
        """Whether anything may be asked for here; says so where it may not."""
        if self.looks_only:
            said = "`gpusess serve --allow-actions`, or the terminal's"
            self.say(said, title="this cockpit only looks", severity="warning", timeout=6)
        return not self.looks_only

    # --- what keys do ---

    def action_open(self, name: str) -> None:
        self.switch_mode(name)

    def action_session(self, step: int) -> None:
        every = [s.row.id for s in self.fleet.sessions]
        if every and self.session:
            self.look_at(every[(every.index(self.session.row.id) + step) % len(every)])

    def action_alarm(self) -> None:
        if found := status.next_in_need(self.fleet, self.session):
            self.look_at(found.row.id)

    def action_pane(self, step: int) -> None:
        if screen := self.base_screen():
            screen.cycle(step)
            self.call_after_refresh(self.tick)

    def action_zoom(self) -> None:
        screen = self.base_screen()
        if screen and (screen.zoomed or screen.focused):
            screen.zoom(None if screen.zoomed else screen.focused)
            self.call_after_refresh(self.tick)

    async def action_back(self) -> None:
        screen = self.base_screen()
        if screen and screen.go_back():
            self.call_after_refresh(self.tick)
        elif self.current_mode in PLACES:
            self.switch_mode(PLACES[self.current_mode].back)

    def action_freeze(self) -> None:
        self.frozen = not self.frozen
        self.tick()

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)]

    def action_help(self) -> None:
        screen = self.base_screen()
        asking.show_help(self, str(screen.id) if screen else "")

    def action_copy(self) -> None:
        screen = self.base_screen()
        reaching.copy(self, screen.text_to_copy() if screen else "")

    def action_terminate(self) -> None:
        session = self.session
        if session and self.may_act():
            asking.terminate(self, session)

    def action_launch(self) -> None:
        if not self.may_act():
            return
        from gpusess.tui.screens.wizard import WizardScreen

        self.push_screen(WizardScreen())

    def launched(self, session_id: str) -> None:
        """The wizard has started a session: look at it."""
        self.selected = session_id
        self.refresh_board()

    def action_stranger(self) -> None:
        screen = self.base_screen()
        if screen and screen.stranger and self.may_act():
            asking.stranger(self, screen.stranger)

    def action_resume(self) -> None:
        session = self.session
        if session and self.may_act():
            self.ask(lambda: self._intents.resume(session.row.id), f"{session.row.name}: resuming")

    def action_shell(self) -> None:
        if self.may_act():
            reaching.shell(self, self.session)

    def action_leave(self) -> None:
        asking.leave(self)

    # --- inside ---

    def _look_around(self) -> None:
        self._intents.look_around()

    def say(
        self, text: str, *, title: str = "", severity: SeverityLevel = "information", timeout: float = 3
    ) -> None:
        """A toast. What is in it may come from an instance: it is plain text."""
        self.notify(clean_block(text), title=clean(title), severity=severity, timeout=timeout, markup=False)

    def ask(self, intent: Callable[[], None], said: str) -> None:
        """Ask for something, and say that it was asked for or why it was not."""
        try:
            intent()
        except GpusessError as exc:
            self.say(exc.hint, title=exc.message, severity="error", timeout=10)
        else:
            self.say(said)

    def base_screen(self) -> CockpitScreen | None:
        """The screen of the present mode, under whatever dialog is open."""
        return next((s for s in reversed(self.screen_stack) if isinstance(s, CockpitScreen)), None)

    def _retheme(self) -> None:
        self._inks = None
        if screen := self.base_screen():
            screen.forget()

    def _settle(self) -> None:
        """After the first paint: what lives now lives to the end, so the collector need not look at it."""
        if not self.is_headless:
            gc.freeze()
            gc.enable()
