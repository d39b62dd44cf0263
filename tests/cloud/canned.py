"""A server that answers every call with what a test has put there: for answers that no simulated cloud gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .http import Reply, Request, serve


class Canned:
    """`reply` is what everybody gets."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.asked: list[Request] = []
        self.url = ""

    def answer(self, request: Request) -> Reply:
        self.asked.append(request)
        return self.reply


@contextmanager
def canned() -> Iterator[Canned]:
    site = Canned()
    server = serve(site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
