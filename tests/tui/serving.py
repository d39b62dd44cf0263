"""A server of the cockpit as a process, and a browser's side of it: what the tests of `gpusess serve` share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from . import world as worlds

ROOT = Path(__file__).parents[2]
WITHIN = 6.0
"""Seconds until an app is gone at the latest."""


@dataclass
class Served:
    """A server as a process, and the browser's side of it."""

    process: subprocess.Popen[str]
    link: str
    home: Path

    @property
    def address(self) -> str:
        return self.link.partition("/enter")[0]

    @property
    def apps(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    async def no_app_is_left(self, seconds: float = WITHIN) -> None:
        await until(lambda: not self.apps, seconds)


async def until(condition: Callable[[], object], seconds: float = WITHIN) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to it"
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def serving(home: Path, *options: str) -> Iterator[Served]:
    """A fleet and a server over it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPUSESS_HOME", str(home))
        world = worlds.build(home)
        process = subprocess.Popen(
            [sys.executable, "-m", "gpusess", "serve", "--port", "0", *options], cwd=ROOT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        assert process.stdout
        first, second = process.stdout.readline(), process.stdout.readline()
        assert ("only looks" in first) != ("--allow-actions" in options)
        yield Served(process, second.split()[-1], home)
    finally:
        process.terminate()
        try:
            process.wait(10)
        finally:
            process.kill()
            world.let_go()
            world.store.close()


COOKIES: dict[str, str] = {}
"""Address → the cookie that its one link has given."""


async def cookie_of(served: Served) -> dict[str, str]:
    if served.address not in COOKIES:
        async with (
            aiohttp.ClientSession() as session,
            session.get(served.link, allow_redirects=False) as response,
        ):
            assert response.status == 303
            cookie = response.cookies["gpusess"]
            assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
            COOKIES[served.address] = cookie.value
    return {"gpusess": COOKIES[served.address]}


class Screen:
    """What a tab's socket has got."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.got = b""

    async def shows(self, *words: str, seconds: float = 20) -> None:
        """Until all words were drawn; then begins anew."""
        end = time.monotonic() + seconds
        while not all(word.encode() in self.got for word in words):
            assert time.monotonic() < end, (words, self.got[-2000:])
            with contextlib.suppress(TimeoutError):
                message = await self.socket.receive(0.5)
                assert message.type is aiohttp.WSMsgType.BINARY, (message, self.got[-500:])
                self.got += message.data
        self.got = b""

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.socket.send_json(["stdin", key])


@contextlib.asynccontextmanager
async def tab(served: Served, client: aiohttp.ClientSession) -> AsyncIterator[Screen]:
    async with client.ws_connect(f"{served.address}/ws?width=120&height=40", origin=served.address) as socket:
        screen = Screen(socket)
        await screen.shows("amber-finch", "$5.41/h")
        yield screen
