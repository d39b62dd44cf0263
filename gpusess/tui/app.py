"""The app: one ticker asks the board for a snapshot and hands it to the visible screen; keys become
intents. It owns nothing that outlives it: leaving stops no session.
"""

from __future__ import annotations

import gc
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App, SuspendNotSupported
from textual.binding import BindingType
from textual.notifications import SeverityLevel
from textual.screen import Screen

from gpusess import paths
from gpusess.analysis.text import clean, clean_block
from gpusess.errors import GpusessError
from gpusess.sessions.board import Board, SessionView
from gpusess.sessions.states import ENDED, State
from gpusess.tui.dialogs import HelpScreen, quit_dialog, stranger_dialog, terminate_dialog
from gpusess.tui.ending import end_with_terminal
from gpusess.tui.intents import Intents
from gpusess.tui.keys import Keys, bindings
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.screens.fleet import FleetScreen
from gpusess.tui.screens.logs import LogsScreen
from gpusess.tui.screens.run import RunScreen
from gpusess.tui.settings import TuiSettings
from gpusess.tui.theme import DARK, THEMES, Inks

if TYPE_CHECKING:
    from textual.command import Provider

TICK = 0.25
"""Seconds between two looks at the board."""
FIRST_LOOK, LOOK_AROUND = 3.0, 600.0
"""Seconds until the providers are first asked what they list, and between asking again."""
CATCH_UP = 0.02
"""The same while records wait on disk."""
BUDGET = 256 << 10
"""Bytes of each journal that one look may fold: about 10 ms."""

_WIDTHS = [(0, "-slim"), (60, "-narrow"), (100, "-normal"), (160, "-wide")]
_HEIGHTS = [(0, "-flat"), (16, "-short"), (32, "-tall"), (50, "-high")]


_ON_SESSIONS = frozenset({"resume", "terminate", "shell", "session", "launch", "copy", "zoom"})
"""Actions on the session that is looked at: not while another one is being made."""


def _commands() -> type[Provider]:
    from gpusess.tui.palette import Commands

    return Commands


class CockpitApp(App[None], inherit_bindings=False):
    """The cockpit over a board. `session_id`: open that session's run first."""

    CSS_PATH = Path(__file__).with_name("gpusess.tcss")
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = {
        "fleet": FleetScreen,
        "run": RunScreen,
        "logs": LogsScreen,
    }
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
        self.keys = Keys(self.settings.keys)
        self.fleet = board.refresh(BUDGET // 4)
        self.scene: Scene | None = None
        self.frozen = False
        self.selected = session_id
        self._board = board
        self._intents = intents
        self._inks: Inks | None = None
        self._shown: tuple[object, ...] = ()
        for ours in THEMES:
            self.register_theme(ours)
        # Without its watcher: that one would apply the stylesheet a second time before the first paint.
        self.set_reactive(App.theme, theme)
        self.animation_level = "none"
        self.set_class(self.settings.ascii, "-ascii")

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

    def on_mount(self) -> None:
        self.set_keymap(self.keys.keymap)
        self.theme_changed_signal.subscribe(self, lambda _: self._retheme())
        if not self.is_headless:
            gc.disable()  # until the first paint
            end_with_terminal(self)
        self.set_interval(TICK, self.refresh_board)
        self.set_timer(FIRST_LOOK, self._look_around)
        self.set_interval(LOOK_AROUND, self._look_around)
        self.call_after_refresh(self._settle)
        if self.keys.unknown:
            self.say(f"unknown actions in `keys`: {', '.join(self.keys.unknown)}", severity="warning")

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.InputEvent):
            self._shown = ()  # what a key or the mouse has changed is shown with the next tick
        await super().on_event(event)

    def refresh_board(self) -> None:
        """One look at the board, and soon another one where more is waiting."""
        if not self.frozen:
            self.fleet = self._board.refresh(BUDGET)
            if self.fleet.catching_up:
                self.set_timer(CATCH_UP, self.refresh_board)
        self.tick(only_news=True)

    def tick(self, *, only_news: bool = False) -> None:
        """Hand what is known to the visible screen; with `only_news`, not when it has seen just that."""
        screen = self._base_screen()
        if screen is None:
            return
        session = self.session
        # Kept by its id: a session that appears later must not slip under the cursor.
        self.selected = session.row.id if session else self.selected
        book = self._board.logs(session.row.id) if session and screen.NEEDS_LOGS else None
        self.scene = Scene(self.fleet, session, book, self.settings.day_budget, self.frozen)
        news = (
            screen,
            self.fleet.version,
            self.scene.second,
            self.selected,
            book and book.version,
            self.frozen,
        )
        if news != self._shown or not only_news:
            self._shown = news
            screen.show(self.scene)

    def look_at(self, session_id: str) -> None:
        """Select a session; every screen follows."""
        self.selected = session_id
        self.tick()

    def possible(self, action: str) -> bool:
        """Whether an action of the table does something now."""
        name = action.rpartition(".")[2].partition("(")[0]
        if action.startswith("focused."):
            return hasattr(self.focused, f"action_{name}")
        return self.check_action(name, ()) is not False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        session = self.session
        if action in _ON_SESSIONS and self._in_wizard:
            return False
        if action == "resume":
            return bool(session and (session.needs_driver or session.row.state is State.FAILED))
        if action in ("terminate", "shell"):
            return bool(session and session.row.state not in ENDED)
        if action == "zoom":
            return bool(session)
        if action == "open_row":
            return bool(session or self.fleet.strangers)
        if action == "stranger":
            return bool(self.fleet.strangers)
        return super().check_action(action, parameters)

    @property
    def intents(self) -> Intents:
        return self._intents

    @property
    def _in_wizard(self) -> bool:
        screen = self._base_screen()
        return screen is not None and screen.id == "wizard"

    # --- what keys do ---

    def action_open(self, name: str) -> None:
        self.switch_mode(name)

    def action_session(self, step: int) -> None:
        every = [s.row.id for s in self.fleet.sessions]
        if every and self.session:
            self.look_at(every[(every.index(self.session.row.id) + step) % len(every)])

    def action_pane(self, step: int) -> None:
        if screen := self._base_screen():
            screen.cycle(step)
            self.call_after_refresh(self.tick)

    def action_zoom(self) -> None:
        screen = self._base_screen()
        if screen and (screen.zoomed or screen.focused):
            screen.zoom(None if screen.zoomed else screen.focused)
            self.call_after_refresh(self.tick)

    async def action_back(self) -> None:
        screen = self._base_screen()
        if screen and screen.go_back():
            self.call_after_refresh(self.tick)
        elif self.current_mode != "fleet":
            self.switch_mode("run" if self.current_mode == "logs" else "fleet")

    def action_freeze(self) -> None:
        self.frozen = not self.frozen
        self.tick()

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)]

    def action_help(self) -> None:
        screen = self._base_screen()
        self.push_screen(HelpScreen(self.keys, str(screen.id) if screen else ""))

    def action_copy(self) -> None:
        text = self._to_copy()
        if not text:
            self.say("nothing to copy here")
            return
        self.copy_to_clipboard(text)
        clip = paths.private_dir(paths.home()) / "clip.txt"
        clip.write_text(text + "\n", encoding="utf-8")
        first, _, more = text.partition("\n")
        shown = f"{first[:60]}…" if more or len(first) > 60 else first
        self.say(f"{shown}\nalso in {clip.name} of the data folder", title="Copied", timeout=3)

    def action_terminate(self) -> None:
        session = self.session
        if session and self.possible("app.terminate"):
            run = session.run
            self.push_screen(
                terminate_dialog(session, self.keys),
                lambda answer: self._terminate(session.row.id, run.row.id if run else "", answer or "no"),
            )

    def action_launch(self) -> None:
        from gpusess.tui.screens.wizard import WizardScreen

        self.push_screen(WizardScreen())

    def launched(self, session_id: str) -> None:
        """The wizard has started a session: look at it."""
        self.selected = session_id
        self.refresh_board()

    def action_stranger(self) -> None:
        screen = self._base_screen()
        stranger = screen.stranger if isinstance(screen, FleetScreen) else None
        if stranger:
            where = (stranger.provider, stranger.instance.id)
            self.push_screen(
                stranger_dialog(stranger, self.keys),
                lambda answer: self._stranger(*where, answer or "no"),
            )

    def action_resume(self) -> None:
        session = self.session
        if session:
            self._ask(lambda: self._intents.resume(session.row.id), f"{session.row.name}: resuming")

    def action_shell(self) -> None:
        session = self.session
        argv = self._ssh_argv(session) if session else None
        if not argv:
            self.say("there is no instance to reach yet", severity="warning")
            return
        try:
            with self.suspend():
                subprocess.call(argv)
        except SuspendNotSupported:
            self.say("no shell from this terminal", severity="warning")
        except OSError as exc:
            self.say(f"{argv[0]}: {exc.strerror}", severity="error")

    def action_leave(self) -> None:
        if not any(s.bills for s in self.fleet.sessions):
            self.exit()
            return
        self.push_screen(
            quit_dialog(self.fleet, self.keys), lambda answer: self.exit() if answer == "leave" else None
        )

    # --- inside ---

    def _look_around(self) -> None:
        self._intents.look_around()

    def _stranger(self, provider: str, instance_id: str, answer: str) -> None:
        said = {"adopt": "adopted", "terminate": "adopted; asked to terminate", "ignore": "shown no more"}
        if answer in said:
            ask = lambda: self._intents.stranger(provider, instance_id, answer)  # noqa: E731
            self._ask(ask, f"{instance_id}: {said[answer]}")

    def _terminate(self, session_id: str, run_id: str, answer: str) -> None:
        if answer == "stop":
            self._ask(lambda: self._intents.stop_run(session_id, run_id), "asked the run to stop")
        elif answer in ("pull", "now"):
            pull = answer == "pull"
            said = "asked to pull and terminate" if pull else "asked to terminate"
            self._ask(lambda: self._intents.terminate(session_id, pull), said)

    def say(
        self, text: str, *, title: str = "", severity: SeverityLevel = "information", timeout: float = 3
    ) -> None:
        """A toast. What is in it may come from an instance: it is plain text."""
        self.notify(clean_block(text), title=clean(title), severity=severity, timeout=timeout, markup=False)

    def _ask(self, intent: Callable[[], None], said: str) -> None:
        try:
            intent()
        except GpusessError as exc:
            self.say(exc.hint, title=exc.message, severity="error", timeout=10)
        else:
            self.say(said)

    def _to_copy(self) -> str:
        screen, session = self._base_screen(), self.session
        if isinstance(screen, FleetScreen):
            marked = [s for s in self.fleet.sessions if s.row.id in screen.marked]
            chosen = marked or ([session] if session else [])
            return "\n".join(self._ssh_command(s) for s in chosen)
        return screen.text_to_copy() if screen else ""

    def _ssh_command(self, session: SessionView) -> str:
        argv = self._ssh_argv(session)
        return shlex.join(argv) if argv else session.row.name

    def _ssh_argv(self, session: SessionView) -> list[str] | None:
        """The command; None, with a word about why, where there is none."""
        try:
            return self._intents.ssh_argv(session.row.id)
        except GpusessError as exc:
            self.say(exc.hint, title=exc.message, severity="error", timeout=10)
            return None

    def _base_screen(self) -> CockpitScreen | None:
        """The screen of the present mode, under whatever dialog is open."""
        return next((s for s in reversed(self.screen_stack) if isinstance(s, CockpitScreen)), None)

    def _retheme(self) -> None:
        self._inks = None
        if screen := self._base_screen():
            screen.forget()

    def _settle(self) -> None:
        """After the first paint: what lives now lives to the end, so the collector need not look at it."""
        if not self.is_headless:
            gc.freeze()
            gc.enable()
