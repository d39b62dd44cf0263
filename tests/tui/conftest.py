"""A world for each test, with the time zone and the environment held still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpusess.tui.app import CockpitApp
from gpusess.tui.settings import TuiSettings

from . import world as worlds

MakeApp = Callable[..., CockpitApp]


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    for name in ("NO_COLOR", "COLORFGBG"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[worlds.World]:
    built = worlds.build(tmp_path)
    yield built
    built.let_go()
    built.store.close()


@pytest.fixture
def empty_world(tmp_path: Path) -> Iterator[worlds.World]:
    clock = worlds.Clock()
    built = worlds.World(clock, worlds.Store(tmp_path / "gpusess.db", clock))
    yield built
    built.store.close()


@pytest.fixture
def intents() -> worlds.FakeIntents:
    return worlds.FakeIntents()


@pytest.fixture
def make_app(world: worlds.World, intents: worlds.FakeIntents) -> MakeApp:
    def make(*, session_id: str | None = None, **settings: Any) -> CockpitApp:
        options = TuiSettings(**{"theme": "dark", "day_budget": 20.0, **settings})
        return CockpitApp(world.board(), intents, session_id=session_id, settings=options)

    return make
