"""The cockpit over a recording: the same screens and panes, keys for the clock, and nothing that acts. Every
screen says REPLAY.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.binding import BindingType

from gpusess.errors import SessionError
from gpusess.sessions.replay import ReplayBoard
from gpusess.tui.app import CockpitApp
from gpusess.tui.keys import Key, Keys, bindings
from gpusess.tui.offering import ACTS
from gpusess.tui.settings import TuiSettings

if TYPE_CHECKING:
    from gpusess.sessions.board import Board
    from gpusess.tui.intents import Intents

_REFUSED = ACTS | {"session"}
STRIDE = 20
"""A jump is so many times shorter than the recording."""


class ReplayKeys(Keys):
    """The table, with the clock's keys wherever those of the app are."""

    def of(self, *contexts: str) -> list[Key]:
        more = ("replay",) if "app" in contexts else ()
        return super().of(*more, *contexts)


class NoIntents:
    """Nothing can be asked of what is over."""

    def look_around(self) -> None:
        """Nothing here costs anything."""

    def ssh_argv(self, session_id: str) -> None:  # noqa: ARG002
        return None

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: Any, **__: Any) -> None:
            raise SessionError(
                "this is a replay: there is nothing to act on", "`gpusess attach` shows what lives"
            )

        return refuse


class ReplayApp(CockpitApp):
    """The cockpit over a `ReplayBoard`."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("app"), *bindings("replay")]

    def __init__(self, board: ReplayBoard, *, session_id: str, settings: TuiSettings | None = None) -> None:
        self.board = board
        super().__init__(
            cast("Board", board), cast("Intents", NoIntents()), session_id=session_id, settings=settings
        )
        self.use_keys(ReplayKeys(self.settings.keys), acts=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return False if action in _REFUSED else super().check_action(action, parameters)

    def action_replay_pause(self) -> None:
        self.board.clock.toggle()
        self.refresh_board()

    def action_replay_speed(self, step: int) -> None:
        self.board.clock.change_speed(step)
        self.refresh_board()

    def action_replay_jump(self, step: int) -> None:
        clock = self.board.clock
        clock.seek(clock() + step * (clock.end - clock.start) / STRIDE)
        self.refresh_board()

    def action_replay_skip(self) -> None:
        self.board.skip()
        self.refresh_board()
