"""The server: a page, its script, and a websocket a tab, each behind the door. It listens on the loopback
interface and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from string import Template

import textual_serve
from aiohttp import WSMsgType, web

from gpusess.tui.web.door import COOKIE, Door, refusal
from gpusess.tui.web.tab import Tab, size

HOST = "127.0.0.1"
TABS = 4
"""So many tabs at once: each is an app of its own."""
MESSAGE = 64 << 10
"""Bytes of one message from a page."""
BEAT = 5.0
"""Seconds between signs of life of a tab; one that misses them is gone."""

_HERE = Path(__file__).parent
_THEIRS = Path(textual_serve.__file__).parent / "static"
FILES = {
    "textual.js": (_THEIRS / "js" / "textual.js", "text/javascript"),
    "xterm.css": (_THEIRS / "css" / "xterm.css", "text/css"),
    "mono.ttf": (_THEIRS / "fonts" / "RobotoMono-VariableFont_wght.ttf", "font/ttf"),
    "mono-italic.ttf": (_THEIRS / "fonts" / "RobotoMono-Italic-VariableFont_wght.ttf", "font/ttf"),
    "page.css": (_HERE / "page.css", "text/css"),
    "page.js": (_HERE / "page.js", "text/javascript"),
}
"""All files that are given out, by the name that they have under /static/."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self' data:; connect-src 'self' ws://{host}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Gives the cockpit to the browsers that were let in. `argv` starts the app of one tab."""

    def __init__(self, argv: list[str], door: Door, log: Path, tabs: int = TABS) -> None:
        self._argv = argv
        self._door = door
        self._log = log
        self._most = tabs
        self._tabs: set[Tab] = set()
        self._page = Template((_HERE / "page.html").read_text(encoding="utf-8"))

    @property
    def pids(self) -> list[int]:
        """The apps' processes."""
        return [tab.pid for tab in self._tabs if tab.pid]

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.router.add_get("/enter", self._enter, allow_head=False)
        app.router.add_get("/", self._index, allow_head=False)
        app.router.add_get("/static/{name}", self._static, allow_head=False)
        app.router.add_get("/ws", self._socket, allow_head=False)
        app.on_shutdown.append(self._close)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every request passes here, those to addresses that do not exist too."""
        if request.path == "/enter":
            why = "" if self._door.is_ours(request.host, request.headers.get("Origin")) else "not our name"
        else:
            cookie = request.cookies.get(COOKIE, "")
            why = refusal(self._door, request.headers, cookie, socket=request.path == "/ws")
        if why:
            response: web.StreamResponse = web.Response(status=403, text=f"{why}\n")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as exc:
                response = web.Response(status=exc.status, text=f"{exc.reason}\n")
        if not response.prepared:
            response.headers.update(_HEADERS)
            # A foreign name is not repeated.
            host = request.host if request.host in self._door.hosts else "127.0.0.1"
            response.headers["Content-Security-Policy"] = _POLICY.format(host=host)
        return response

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        cookie = self._door.enter(request.query.get("token", ""))
        if cookie is None:
            return web.Response(
                status=403, text="this link was used; enter in the terminal prints another one\n"
            )
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict", path="/")
        return response

    async def _index(self, request: web.Request) -> web.StreamResponse:
        if len(self._tabs) >= self._most:
            return web.Response(status=503, text=f"{self._most} tabs are open already: close one of them\n")
        page = self._page.substitute(socket=html.escape(f"ws://{request.host}/ws", quote=True))
        return web.Response(text=page, content_type="text/html")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        found = FILES.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        path, kind = found
        return web.Response(body=path.read_bytes(), content_type=kind)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if len(self._tabs) >= self._most:
            return web.Response(status=503, text="too many tabs\n")
        socket = web.WebSocketResponse(heartbeat=BEAT, max_msg_size=MESSAGE)
        tab = Tab(self._argv, self._log, socket.send_bytes)
        self._tabs.add(tab)
        try:
            await socket.prepare(request)
            await tab.start(*size(request.query.get("width"), request.query.get("height")))
            listening = asyncio.create_task(_listen(socket, tab))
            ended = asyncio.create_task(tab.until_ended())
            await asyncio.wait([listening, ended], return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            ended.cancel()
            await asyncio.gather(listening, ended, return_exceptions=True)
        finally:
            # Shielded: a vanished browser cancels this, and the app must end all the same.
            await asyncio.shield(self._end(tab))
        with contextlib.suppress(ConnectionError):
            await socket.close()
        return socket

    async def _end(self, tab: Tab) -> None:
        try:
            await tab.stop()
        finally:
            self._tabs.discard(tab)

    async def _close(self, _: web.Application) -> None:
        await asyncio.gather(*(self._end(tab) for tab in list(self._tabs)))


async def _listen(socket: web.WebSocketResponse, tab: Tab) -> None:
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            return  # the page sends nothing else
        try:
            said = json.loads(message.data)
        except ValueError:
            return
        answer = await tab.take(said)
        if answer:
            await socket.send_str(answer)
