"""The link's patience: how long it tries, on a clock that jumps as a laptop's does that sleeps."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gpusess.errors import Unreachable
from gpusess.sessions import link as module
from gpusess.sessions.context import Context
from gpusess.sessions.link import GaveUp, Link

HOURS = 3600.0


class Clock:
    """Moves by what is waited, and by `nap` in the middle of the try of that number."""

    def __init__(self, nap_at: int | None = None, nap: float = 8 * HOURS, each: float = 1.0) -> None:
        self.now, self.tries = 1e9, 0
        self._nap_at, self._nap, self._each = nap_at, nap, each

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def connect(self, *_: object) -> Any:
        self.tries += 1
        self.now += self._each + (self._nap if self.tries == self._nap_at else 0.0)
        raise Unreachable("no route to host")


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(clock: Clock, patience: float) -> int:
        context = SimpleNamespace(clock=lambda: clock.now, sleep=clock.sleep, say=lambda *_: None)

        async def nothing(*_: object) -> None:
            return None

        monkeypatch.setattr(module, "connect", clock.connect)
        monkeypatch.setattr(module, "session_target", nothing)
        monkeypatch.setattr(Link, "_still_there", nothing)
        with pytest.raises(GaveUp, match="no route to host"):
            asyncio.run(Link(cast(Context, context)).connection(patience))
        return clock.tries

    return run


def test_patience_is_time_of_trying(tries: Any) -> None:
    clock = Clock()
    began = clock.now
    assert tries(clock, 60.0) >= 5
    assert 60 < clock.now - began < 120


@pytest.mark.parametrize("jump", [8 * HOURS, -8 * HOURS], ids=["forward", "back"])
def test_hours_that_were_slept_away_end_no_patience(tries: Any, jump: float) -> None:
    awake = tries(Clock(), 60.0)
    assert tries(Clock(nap_at=2, nap=jump), 60.0) >= awake - 2
