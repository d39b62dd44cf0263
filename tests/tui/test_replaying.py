"""A replay in the cockpit: plainly marked on every screen, driven by its keys, and unable to ask for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from gpusess.errors import SessionError
from gpusess.sessions.recording import find_recording
from gpusess.sessions.replay import ReplayBoard
from gpusess.sessions.replay_clock import ReplayClock
from gpusess.tui.dialogs import Dialog
from gpusess.tui.replaying import NoIntents, ReplayApp
from gpusess.tui.settings import TuiSettings

from . import trainings
from . import world as worlds
from .test_app import SCREEN_KEYS, keys, settled, text

SMALL, WIDE = (80, 24), (120, 40)


@pytest.fixture
def replay(world: worlds.World) -> ReplayApp:
    """The collapsing training, standing still at the moment when it has just begun to go wrong."""
    trainings.collapsing(world)
    found = find_recording("ember-lark")
    clock = ReplayClock(found.start, found.end, 60.0, lambda: 0.0)
    clock.seek(worlds.NOW - 85)
    clock.paused = True
    return ReplayApp(ReplayBoard(found, clock), session_id="s-ember", settings=TuiSettings(theme="dark"))


async def test_every_screen_says_replay_and_nothing_bills(replay: ReplayApp) -> None:
    async with replay.run_test(size=SMALL) as pilot:
        await settled(pilot)
        for key in SCREEN_KEYS:
            await keys(pilot, key)
            assert "REPLAY" in text(replay, "#status")
            assert "$" not in text(replay, "#status")
        await keys(pilot, "q")
        assert not isinstance(replay.screen, Dialog), "nothing goes on billing: nothing is asked"


async def test_the_clock_goes_by_keys_and_the_screens_follow(replay: ReplayApp) -> None:
    clock = replay.board.clock
    async with replay.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "4")
        assert "162 / 400" in text(replay, "#health")
        assert "COLLAPSE" not in text(replay, "#health")
        assert "stands still" in text(replay, "#status")
        await keys(pilot, "e")
        assert "163 / 400" in text(replay, "#health")
        await keys(pilot, "full_stop")
        await settled(pilot)
        assert "COLLAPSE at step" in text(replay, "#health")
        for _ in range(5):
            await keys(pilot, "comma")
        await settled(pilot)
        assert "COLLAPSE" not in text(replay, "#health")
        await keys(pilot, "plus")
        assert clock.speed == 120.0
        await keys(pilot, "minus", "minus")
        assert clock.speed == 30.0
        await keys(pilot, "p")
        assert not clock.paused
        assert "30× as fast" in text(replay, "#status")


async def test_nothing_can_be_asked_for(replay: ReplayApp) -> None:
    async with replay.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "x", "r", "s", "1", "n", "u", "4", "a")
        assert not isinstance(replay.screen, Dialog)
        assert not replay.possible("app.terminate")
        assert "Pause" in text(replay, "#keybar")
        assert "Terminate" not in text(replay, "#keybar")
    intents: Any = NoIntents()
    with pytest.raises(SessionError, match="replay"):
        intents.terminate("s-ember", pull_first=True)


async def test_a_bare_folder_is_shown_without_a_store(world: worlds.World, tmp_path: Path) -> None:
    trainings.collapsing(world)
    folder = tmp_path / "sessions" / "s-ember" / "runs" / "s-ember-0"
    found = find_recording(str(folder))
    clock = ReplayClock(found.start, found.end, 60.0, lambda: 0.0)
    clock.seek(clock.end)
    app = ReplayApp(ReplayBoard(found, clock), session_id=found.row.id)
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert "171 / 400" in text(app, "#header")
        assert "at its end" in text(app, "#status")


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
def test_pictures(snap_compare: Any, replay: ReplayApp, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await keys(pilot, "4")
        await settled(pilot)

    assert snap_compare(replay, terminal_size=size, run_before=run)
