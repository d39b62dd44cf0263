"""HTTP for simulated clouds: requests, answers, routes, and a server whose connections can break in every way.

Standard library only. It knows no cloud.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

HANG_SECONDS = 120.0


@dataclass
class Request:
    """One call. Header names are in small letters."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    params: dict[str, str] = field(default_factory=dict)
    """What the path's `{…}` stand for."""
    op: str = ""

    @property
    def json(self) -> Any:
        """The body. Raises ValueError where it is no JSON; None where it is empty."""
        return json.loads(self.body) if self.body.strip() else None

    @property
    def form(self) -> dict[str, str]:
        """A form's fields, from the body, or from the query where the body is empty."""
        fields = parse_qs(self.body.decode(), keep_blank_values=True) or self.query
        return {name: values[-1] for name, values in fields.items()}


@dataclass
class Reply:
    """One answer. `body` is sent as JSON unless it is text or bytes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    broken: str = ""
    """`lost`, `reset` or `hang`: nothing is sent at all."""

    def data(self) -> tuple[bytes, str]:
        """The bytes and their type."""
        if self.body is None:
            return b"", "application/json"
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/plain"
        return json.dumps(self.body).encode(), "application/json"


Answer = Callable[[Any, Request], Reply]


@dataclass(frozen=True)
class Route:
    """One operation of a cloud: what steps, faults and call logs name."""

    method: str
    path: str
    op: str

    def match(self, method: str, path: str) -> dict[str, str] | None:
        if method != self.method:
            return None
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.path))
        found = re.fullmatch(pattern, path)
        return {k: unquote(v) for k, v in found.groupdict().items()} if found else None


def route(method: str, path: str, op: str) -> Callable[[Answer], Answer]:
    """Marks the method of a Cloud that answers this call. One method may answer several."""

    def mark(answer: Answer) -> Answer:
        answer.__dict__.setdefault("routes", []).append(Route(method, path, op))
        return answer

    return mark


class Site(Protocol):
    def answer(self, request: Request) -> Reply: ...


def serve(site: Site, port: int = 0) -> ThreadingHTTPServer:
    """A server for that site on 127.0.0.1; its caller runs `serve_forever`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def _any(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("content-length") or 0)
            request = Request(
                self.command,
                parts.path,
                parse_qs(parts.query, keep_blank_values=True),
                {k.lower(): v for k, v in self.headers.items()},
                self.rfile.read(size),
            )
            reply = site.answer(request)
            if reply.broken:
                _break(self.connection, reply.broken)
                self.close_connection = True
                return
            data, kind = reply.data()
            self.send_response(reply.status)
            headers = {"Content-Type": kind, **reply.headers} if data else reply.headers
            for name, value in headers.items():
                self.send_header(name, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD" and reply.status != 204:
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_TRACE = _any

        def log_message(self, format: str, *args: Any) -> None:
            """The call log is the cloud's."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A caller that was killed is no news; anything else is."""
            import sys
            import traceback

            if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
                traceback.print_exc()

    return Server(("127.0.0.1", port), Handler)


def _break(connection: socket.socket, how: str) -> None:
    if how == "hang":
        end = time.monotonic() + HANG_SECONDS
        while time.monotonic() < end:
            if select.select([connection], [], [], 0.5)[0] and not connection.recv(1, socket.MSG_PEEK):
                break
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed by hand: http.server would say goodbye first, and then it is no reset.
        os.close(connection.detach())
        return
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def kill(pid: int) -> None:
    """SIGKILL, and wait until it cannot act any more."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
                if stat.read().rsplit(")", 1)[1].split()[0] in "ZX":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.002)
