"""The Compare screen: what it compares, the same numbers as the command's, and what it says where it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from gpusess import paths
from gpusess.cli.compare import compared
from gpusess.cli.comparison_text import against_lines
from gpusess.tui.app import CockpitApp
from gpusess.tui.panes.compare_series import chosen
from gpusess.tui.screens.compare import CompareScreen

from . import trainings
from . import world as worlds
from .conftest import MakeApp
from .test_app import keys, screen_of, settled, text

SMALL, WIDE = (80, 24), (120, 40)


async def opened(pilot: Pilot[Any], *sessions: str) -> None:
    app = pilot.app
    assert isinstance(app, CockpitApp)
    await settled(pilot)
    app.marked |= set(sessions)
    await keys(pilot, "c")
    await app.workers.wait_for_complete()
    await settled(pilot)


async def test_marked_sessions_are_held_against_the_first(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, "s-amber", "s-gale", "s-dusk")
        assert "A amber-finch   B gale-petrel" in text(app, "#curves")
        assert "62.2 % (58.9 - 65.5)" in text(app, "#metrics")
        (row,) = compared(("amber-finch/gsm8k-8shot", "gale-petrel")).against
        said = [line.strip().split(", ", 1)[-1] for line in against_lines(row)]
        for words in said:
            assert words in text(app, "#paired")
        assert "amber-finch is not complete: 818 of 1319" in text(app, "#paired")
        await keys(pilot, "o")
        await app.workers.wait_for_complete()
        await settled(pilot)
        assert "A gale-petrel   B amber-finch" in text(app, "#curves")
        assert "-7.9 points" in text(app, "#paired")
        await keys(pilot, "escape")
        assert app.current_mode == "fleet"


async def test_trainings_are_compared_over_their_steps(world: worlds.World, make_app: MakeApp) -> None:
    sessions = trainings.supervised(world), trainings.collapsing(world)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, *sessions)
        assert "over the steps" in str(screen_of(app).query_one("#curves").border_title)
        assert "train.lr" in text(app, "#differences")
        assert "64 samples do not tell" in text(app, "#paired")
        assert "(not told apart)" in text(app, "#paired")


async def test_one_run_alone_says_how_to_compare(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        assert "mark sessions with space in Fleet" in " ".join(text(app, "#curves").split())
        assert not screen_of(app).query_one("#paired").region


async def test_what_cannot_be_read_is_said_and_the_screen_stays(make_app: MakeApp) -> None:
    app = make_app()
    journal = paths.run_dir("s-gale", "s-gale-0") / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:40], b'{"broken\n', *lines[41:]]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, "s-amber", "s-gale")
        screen = screen_of(app)
        assert isinstance(screen, CompareScreen)
        assert screen.found is None
        assert "✗" in text(app, "#metrics")
        assert "line 41" in text(app, "#metrics")


def test_a_colour_hangs_on_the_name_and_no_two_are_alike(world: worlds.World) -> None:
    trainings.supervised(world)
    trainings.collapsing(world)
    fleet = world.board().refresh()
    every = [s.row.id for s in fleet.sessions]
    runs = chosen(fleet, every, None, 0)
    assert [run.letter for run in runs] == list("ABCD")
    assert len({run.ink for run in runs}) == 4
    turned = chosen(fleet, every, None, 1)
    assert turned[0].label == runs[1].label
    assert {run.label: run.ink for run in turned} == {run.label: run.ink for run in runs}


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
def test_pictures(snap_compare: Any, make_app: MakeApp, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[Any]) -> None:
        await opened(pilot, "s-amber", "s-gale")

    assert snap_compare(make_app(), terminal_size=size, run_before=run)
