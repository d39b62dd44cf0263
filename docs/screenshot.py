"""The pictures of the pages, drawn by the running app from the mirrors of finished runs.

    gpusess demo --headless && python docs/screenshot.py docs/images/run.png
    python docs/screenshot.py docs/images/results.png --keys 5
    python docs/screenshot.py docs/images/train.png FOLDER --keys 4

Textual draws the screen at 120×40 without a terminal and exports it as SVG; for a `.png`, Chromium renders it
with a font of this machine. The session is the newest one, or the one that is named after the file. A folder
with a run's journals is shown as `gpusess replay` shows it at its end. `--keys` are pressed first.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gpusess.sessions.board import Board
from gpusess.sessions.intents import DriverIntents
from gpusess.sessions.recording import find_recording
from gpusess.sessions.replay import ReplayBoard
from gpusess.sessions.replay_clock import ReplayClock
from gpusess.sessions.start import open_store
from gpusess.tui.app import CockpitApp
from gpusess.tui.replaying import ReplayApp
from gpusess.tui.settings import TuiSettings

SIZE = (120, 40)
FONT = "DejaVu Sans Mono"


def cockpit(session: str | None) -> CockpitApp:
    settings = TuiSettings(theme="dark")
    if session and Path(session).is_dir():
        recording = find_recording(session)
        clock = ReplayClock(recording.start, recording.end, 1)
        clock.seek(recording.end)
        return ReplayApp(ReplayBoard(recording, clock), session_id=recording.row.id, settings=settings)
    store = open_store()
    row = store.find(session)
    return CockpitApp(Board(store), DriverIntents(store), session_id=row.id, settings=settings)


async def draw(session: str | None, keys: list[str]) -> str:
    """The screen that the keys lead to, at first Run, as SVG that loads nothing from elsewhere."""
    app = cockpit(session)
    async with app.run_test(size=SIZE) as pilot:
        for key in [*keys, *[""] * 8]:
            await pilot.press(*[key] if key else [])
            app.refresh_board()
            await pilot.pause(0.1)
        await app.workers.wait_for_complete()
        await pilot.pause(0.3)
        svg = app.export_screenshot(title="gpusess")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->", "", svg).replace("Fira Code", FONT)


def to_png(svg: str, target: Path) -> None:
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("a PNG needs Chromium; name a file that ends in .svg instead")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(f'<meta charset="utf-8"><body style="margin:0">{svg}</body>', encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += [f"--window-size={round(width)},{round(height)}", f"--screenshot={target.resolve()}"]
        subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a screen of the cockpit into a file.")
    parser.add_argument("target", type=Path)
    parser.add_argument("session", nargs="?")
    parser.add_argument("--keys", default="", help="with commas between them, in Textual's names")
    asked = parser.parse_args()
    svg = asyncio.run(draw(asked.session, [key for key in asked.keys.split(",") if key]))
    if asked.target.suffix == ".svg":
        asked.target.write_text(svg, encoding="utf-8")
    else:
        to_png(svg, asked.target)


if __name__ == "__main__":
    main()
