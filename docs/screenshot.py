"""The picture of the Run screen in README.md, drawn by the running app from a finished session's mirror.

    gpusess demo --headless && python docs/screenshot.py docs/images/run.svg

It needs no terminal: Textual draws the screen at 120×40 and exports it. The session is the newest one, or the
one that is named after the file.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gpusess.sessions.board import Board
from gpusess.sessions.intents import DriverIntents
from gpusess.sessions.start import open_store
from gpusess.tui.app import CockpitApp
from gpusess.tui.settings import TuiSettings

SIZE = (120, 40)


async def shoot(target: Path, session: str | None) -> None:
    store = open_store()
    app = CockpitApp(
        Board(store),
        DriverIntents(store),
        session_id=store.find(session).id,
        settings=TuiSettings(theme="dark"),
    )
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(8):
            app.refresh_board()
            await pilot.pause(0.1)
        target.write_text(app.export_screenshot(title="gpusess"), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(shoot(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
