"""One tab of the browser: its websocket on one side, an app process of its own on the other.

The process speaks the packets of `textual_serve`; it is started without a shell, and is gone shortly after
its tab.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from textual_serve.app_service import AppService

PATIENCE = 2.0
"""Seconds after which an app that was told to quit is killed."""
WIDTHS, HEIGHTS = (20, 500), (5, 200)
_BEGIN = b"__GANGLION__\n"
_MOST = 16 << 20
"""Bytes of one packet: far more than a screen takes."""

Send = Callable[[bytes], Awaitable[None]]


class Tab:
    """The app of one tab, from its start to its end."""

    def __init__(self, argv: list[str], log: Path, send: Send) -> None:
        self._argv = argv
        self._log = log
        self._send = send
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self, width: int, height: int) -> None:
        """Start the app; what it says beside its packets goes into the log."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                env=_environment(width, height),
                start_new_session=True,
            )
        self._reading = asyncio.create_task(self._read())

    async def until_ended(self) -> None:
        """Until the app has said its last word."""
        assert self._reading
        await asyncio.wait([self._reading])

    async def take(self, message: Any) -> str | None:
        """What the page says: a list with a type and a value. The answer to it, where it wants one."""
        kind, value = [*message, None, None][:2] if isinstance(message, list) else (None, None)
        if kind == "stdin" and isinstance(value, str):
            await self._write(b"D", value.encode("utf-8", "replace"))
        elif kind == "resize" and isinstance(value, dict):
            width, height = size(value.get("width"), value.get("height"))
            await self._meta({"type": "resize", "width": width, "height": height})
        elif kind in ("focus", "blur"):
            await self._meta({"type": kind})
        elif kind == "ping" and isinstance(value, str | int | float):
            return json.dumps(["pong", value])
        return None

    async def stop(self) -> None:
        """Ask the app to quit, and kill it and all that it has started if it has not within PATIENCE."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError, RuntimeError):
            await asyncio.wait_for(self._meta({"type": "quit"}), PATIENCE)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _meta(self, value: Mapping[str, object]) -> None:
        await self._write(b"M", json.dumps(value).encode())

    async def _write(self, kind: bytes, data: bytes) -> None:
        assert self._process
        assert self._process.stdin
        with contextlib.suppress(ConnectionError):  # it has just ended
            self._process.stdin.write(AppService.encode_packet(kind, data))  # type: ignore[arg-type]
            await self._process.stdin.drain()

    async def _read(self) -> None:
        """Packets from the app: what it draws goes to the page, `exit` ends the tab; no other is obeyed."""
        assert self._process
        assert self._process.stdout
        stdout = self._process.stdout
        try:
            while await stdout.readline() not in (_BEGIN, b""):
                pass
            while True:
                head = await stdout.readexactly(5)
                length = int.from_bytes(head[1:], "big")
                if length > _MOST:
                    return
                data = await stdout.readexactly(length)
                if head[:1] == b"D":
                    await self._send(data)
                elif head[:1] == b"M" and json.loads(data).get("type") == "exit":
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return


def size(width: Any, height: Any) -> tuple[int, int]:
    """Columns and rows as the page gives them, within reason."""
    return _within(width, WIDTHS, 80), _within(height, HEIGHTS, 24)


def _within(value: Any, limits: tuple[int, int], otherwise: int) -> int:
    try:
        return min(limits[1], max(limits[0], int(value)))
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _environment(width: int, height: int) -> dict[str, str]:
    return {
        **os.environ,
        "TEXTUAL_DRIVER": "gpusess.tui.web.driver:Driver",
        "TEXTUAL_FPS": "30",
        "TEXTUAL_COLOR_SYSTEM": "truecolor",
        "TERM_PROGRAM": "textual",
        "COLUMNS": str(width),
        "ROWS": str(height),
    }
