"""The thread that waits for keys: what it makes of them is what Textual's own makes of them, and it rests."""

from __future__ import annotations

import os
import pty
import select
import signal
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from gpusess.tui import driver, ticker
from gpusess.tui.driver import PatientDriver

from . import world as worlds
from .conftest import MakeApp

PIECES = [
    b"j", b"\x1b", b"\x1b[A", b"\x1b[", b"B", b"\x1b[200~two ", b"lines\n\x1b[201~", "日".encode()[:2],
    "日".encode()[2:], "é".encode(), b"\x1b[<0;12;7M\x1b[<0;12;7m", b"\x1bOP", b"\x1bx", b"\x1b\x1b", b"\x04",
]  # fmt: skip


class Typed:
    """A driver's thread on a terminal of its own, and what it has handed on."""

    def __init__(self, kind: type[LinuxDriver]) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.driver = kind(App())
        self.driver.fileno = self.slave
        self.messages: list[Any] = []
        self.driver.process_message = self.messages.append  # type: ignore[method-assign, assignment]
        self.thread = threading.Thread(target=self.driver.run_input_thread, daemon=True)
        self.driver._key_thread = self.thread
        self.thread.start()

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    @property
    def said(self) -> list[tuple[str, Any]]:
        wanted = ("key", "character", "text", "x", "y")
        return [(type(m).__name__, [getattr(m, name, None) for name in wanted]) for m in self.messages]


@contextmanager
def typed(kind: type[LinuxDriver]) -> Iterator[Typed]:
    numbers = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
    before = {number: signal.getsignal(number) for number in numbers}
    found = Typed(kind)
    found.driver.write = lambda _: None  # type: ignore[method-assign, assignment]
    try:
        yield found
    finally:
        found.driver.disable_input()
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(found.master)
        os.close(found.slave)


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


async def test_keys_mean_what_they_mean_to_textual() -> None:
    """Sequences whole and in pieces, a paste, a mouse, half characters, and lone escapes."""
    with typed(LinuxDriver) as own, typed(PatientDriver) as ours:
        for piece in [*PIECES, *PIECES[:3], *PIECES[9:], b"z"]:
            own.type(piece)
            ours.type(piece)
            time.sleep(0.15 if piece.endswith(b"\x1b") else 0.01)
        until(lambda: len(own.said) > 20 and own.said[-1] == ours.said[-1] and own.said[-1][1][0] == "z")
        assert ours.said == own.said


async def test_bytes_that_are_no_text_do_not_end_it() -> None:
    with typed(PatientDriver) as ours:
        ours.type(b"\xa5\xffj")
        until(lambda: ours.said[-1:] == [("Key", ["j", "j", None, None, None])])


async def test_it_rests_where_nothing_is_typed_and_wakes_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    real = select.select

    def counted(*args: Any) -> Any:
        looks.append(args[3])
        return real(*args)

    monkeypatch.setattr(driver, "WATCHFUL", 0.15)
    monkeypatch.setattr(select, "select", counted)
    with typed(PatientDriver) as ours:
        until(lambda: bool(looks) and looks[-1] is None)
        before = len(looks)
        time.sleep(0.4)
        assert len(looks) == before
        ours.type(b"\x1b")
        until(lambda: ours.said[-1:] == [("Key", ["escape", "\x1b", None, None, None])])
        until(lambda: looks[-1] is None)
        begin = time.monotonic()
        ours.driver.disable_input()
        assert time.monotonic() - begin < 0.3
        assert not ours.thread.is_alive()


async def test_a_quiet_board_is_looked_at_less_often_and_news_are_seen_all_the_same(
    make_app: MakeApp, world: worlds.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticker, "LATELY", 0.2)
    monkeypatch.setattr(ticker, "QUIET_TICK", 0.3)
    app = make_app(session_id="s-amber")
    async with app.run_test(size=(120, 40)) as pilot:
        assert app._ticker

        async def soon(true: Callable[[], bool]) -> None:
            end = time.monotonic() + 5
            while not true():
                assert time.monotonic() < end
                await pilot.pause(0.02)

        await soon(lambda: bool(app._ticker and app._ticker.quiet))
        await pilot.press("j")
        assert not app._ticker.quiet
        await soon(lambda: bool(app._ticker and app._ticker.quiet))
        session = app.session
        assert session
        assert session.run
        done = session.run.state.done
        world.write("s-amber", "s-amber-0", "journal.jsonl", [(0, worlds.result(990, "rates", True))])
        await soon(lambda: bool(app.session and app.session.run and app.session.run.state.done == done + 1))
        assert not app._ticker.quiet
