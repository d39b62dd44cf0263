"""A headless Chromium that is driven over its debugging socket: just enough to open a page and press keys."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, id: str) -> None:
        self._socket = socket
        self.id = id
        self._numbers = itertools.count(1)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(20):
            while True:
                said = await self._socket.receive_json()
                if said.get("id") == number:
                    assert "error" not in said, said
                    return dict(said["result"])

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page."""
        said = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return said["result"].get("value")

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" else {}
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, **text)

    async def until(self, expression: str, seconds: float = 20) -> Any:
        """Until an expression is true."""
        found = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (found := await self.value(expression)):
                    await asyncio.sleep(0.1)
        assert found, f"never true: {expression}"
        return found


class Browser:
    def __init__(self, process: subprocess.Popen[bytes], port: int, session: aiohttp.ClientSession) -> None:
        self.process = process
        self._address = f"http://127.0.0.1:{port}"
        self._session = session

    async def open(self, url: str) -> Page:
        async with self._session.put(f"{self._address}/json/new?{url}") as response:
            found = await response.json()
        socket = await self._session.ws_connect(found["webSocketDebuggerUrl"], max_msg_size=0)
        page = Page(socket, found["id"])
        await page.send("Runtime.enable")
        return page

    async def close(self, page: Page) -> None:
        async with self._session.get(f"{self._address}/json/close/{page.id}"):
            pass

    def kill(self) -> None:
        """All of it, at once, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.asynccontextmanager
async def chromium(folder: Path, *options: str) -> AsyncIterator[Browser]:
    """A browser with a profile of its own."""
    assert CHROMIUM
    argv = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--remote-debugging-port=0",
    ]
    process = subprocess.Popen(
        [*argv, *options, f"--user-data-dir={folder}", "--window-size=1300,800", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    port_file = folder / "DevToolsActivePort"
    try:
        async with asyncio.timeout(40):
            while not port_file.exists() or not port_file.read_text().strip():
                await asyncio.sleep(0.1)
        async with aiohttp.ClientSession() as session:
            browser = Browser(process, int(port_file.read_text().split()[0]), session)
            yield browser
            browser.kill()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
