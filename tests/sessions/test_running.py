"""Bringing the rest home goes on while something comes, and is given up when nothing does."""

from __future__ import annotations

import asyncio

import pytest

from gpusess.sessions import running
from gpusess.sessions.link import GaveUp
from gpusess.sessions.running import Progress


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOOK_EVERY", 0.01)


async def test_a_slow_line_is_no_silent_one() -> None:
    moved, done = Progress(5), asyncio.Event()

    async def trickle() -> None:
        for _ in range(20):
            await asyncio.sleep(0.02)
            moved.seen()
        done.set()
        await asyncio.sleep(60)

    await asyncio.wait_for(running._first(trickle(), done, moved), 10)


async def test_silence_is_given_up() -> None:
    ended = False

    async def silent() -> None:
        nonlocal ended
        try:
            await asyncio.sleep(60)
        finally:
            ended = True

    with pytest.raises(GaveUp, match="nothing more came for 5 s"):
        await asyncio.wait_for(running._first(silent(), asyncio.Event(), Progress(5)), 10)
    assert ended


async def test_what_fails_is_said() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await running._first(fails(), asyncio.Event(), None)
