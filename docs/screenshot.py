"""The picture of the Run screen in README.md, drawn by the running app from a finished session's mirror.

    gpusess demo --headless && python docs/screenshot.py docs/images/run.png

Textual draws the screen at 120×40 without a terminal and exports it as SVG; for a `.png`, Chromium renders it
with a font of this machine. The session is the newest one, or the one that is named after the file.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gpusess.sessions.board import Board
from gpusess.sessions.intents import DriverIntents
from gpusess.sessions.start import open_store
from gpusess.tui.app import CockpitApp
from gpusess.tui.settings import TuiSettings

SIZE = (120, 40)
FONT = "DejaVu Sans Mono"


async def draw(session: str | None) -> str:
    """The Run screen as SVG that loads nothing from elsewhere."""
    store = open_store()
    settings = TuiSettings(theme="dark")
    row = store.find(session)
    app = CockpitApp(Board(store), DriverIntents(store), session_id=row.id, settings=settings)
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(8):
            app.refresh_board()
            await pilot.pause(0.1)
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
    target = Path(sys.argv[1])
    svg = asyncio.run(draw(sys.argv[2] if len(sys.argv) > 2 else None))
    if target.suffix == ".svg":
        target.write_text(svg, encoding="utf-8")
    else:
        to_png(svg, target)


if __name__ == "__main__":
    main()
