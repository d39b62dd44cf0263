"""Who may come in: a link that works once, the cookie that it leaves, the names under which we are reached.

Any page that is open in the same browser can send requests to a port of this machine. So a request counts
only with our cookie, under a name of the loopback interface (else a foreign name could be made to lead here),
and from our own page where it says where it comes from.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

COOKIE = "gpusess"
NAMES = ("127.0.0.1", "localhost")


class Door:
    """Keeps the open links and the cookies of this server. Nothing of it is written down."""

    def __init__(self, port: int) -> None:
        self.hosts = frozenset(f"{name}:{port}" for name in NAMES)
        self._links: set[str] = set()
        self._cookies: set[str] = set()

    def new_link(self) -> str:
        """A path that lets one browser in, once."""
        token = secrets.token_urlsafe(32)
        self._links.add(token)
        return f"/enter?token={token}"

    def enter(self, token: str) -> str | None:
        """The cookie for a link's token, which is spent then; None for any other."""
        found = next((t for t in self._links if _same(t, token)), None)
        if found is None:
            return None
        self._links.discard(found)
        cookie = secrets.token_urlsafe(32)
        self._cookies.add(cookie)
        return cookie

    def knows(self, cookie: str) -> bool:
        return any(_same(ours, cookie) for ours in self._cookies)

    def is_ours(self, host: str, origin: str | None) -> bool:
        """Whether a request came under one of our names, and from our own page if it says from where."""
        return host in self.hosts and (origin is None or origin == f"http://{host}")


def refusal(door: Door, headers: Mapping[str, str], cookie: str, *, socket: bool) -> str:
    """Why a request is refused; empty: it is not. A socket must say where it comes from."""
    origin = headers.get("Origin")
    if not door.is_ours(headers.get("Host", ""), origin) or (socket and origin is None):
        return "this server is reached under its own name only"
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return "another page may not ask here"
    if not door.knows(cookie):
        return "the link in the terminal lets one browser in, once; enter there prints another one"
    return ""


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode(errors="replace"))
