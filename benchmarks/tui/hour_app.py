"""The cockpit, which leaves word of what it has read: python -m benchmarks.tui.hour_app FILE writes how many
results it knows, and how many right ones, into FILE after each look at the board.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

from benchmarks import worlds
from gpusess.cli.attach import make_app
from gpusess.sessions.board import Board, FleetView
from gpusess.sessions.start import open_store

WORD = struct.Struct("=QQ")
AT_ONCE = 1 << 20
"""Bytes of a look. The cockpit's own take a quarter of that, so that keys have their turn: here none is
pressed, and half the time is saved."""


def main(file: Path) -> None:
    """As `gpusess attach` does, on the live session."""
    word = os.open(file, os.O_WRONLY | os.O_CREAT)
    look = Board.refresh

    def refresh(self: Board, budget: int = AT_ONCE) -> FleetView:
        fleet = look(self, max(budget, AT_ONCE))
        view = fleet.session(worlds.LIVE)
        if view and view.run:
            os.pwrite(word, WORD.pack(view.run.state.done, view.run.state.right), 0)
        return fleet

    Board.refresh = refresh  # type: ignore[method-assign]
    make_app(open_store(), worlds.LIVE).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
