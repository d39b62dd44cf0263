"""The palette can do everything that the keys can, on every screen: proved from the table of keys."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from gpusess.tui.app import CockpitApp
from gpusess.tui.keys import SECTIONS, TABLE, bindings
from gpusess.tui.palette import Commands
from gpusess.tui.screens import PLACES

from . import results_world, trainings
from . import world as worlds
from .conftest import MakeApp
from .test_app import WIDE, keys, screen_of, settled

ON = {"train": "s-ember", "results": "s-heron", "compare": "s-heron"}
"""The session on which a screen has something to show."""


async def opened(app: CockpitApp, pilot: Pilot[Any], screen: str) -> None:
    await settled(pilot)
    if screen == "compare":
        app.marked = {"s-heron", "s-ibis"}
    if screen == "wizard":
        await keys(pilot, "1", "n")
    else:
        app.action_open(screen)
    for _ in range(3):
        await pilot.pause(0.05)
        await app.workers.wait_for_complete()
    app.tick()
    await pilot.pause()
    assert screen_of(app).id == screen


def reachable(app: CockpitApp, screen: str) -> dict[str, str]:
    """Id → action of what a key does here and now, from the table."""
    here = app.keys.of("app", screen, "list")
    return {key.id: key.action for key in here if key.id != "palette" and app.possible(key.action)}


@pytest.mark.parametrize("screen", [*PLACES, "wizard"])
async def test_it_offers_what_the_keys_do_and_does_the_same(
    make_app: MakeApp, world: worlds.World, screen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings.collapsing(world)
    results_world.build(world)
    worlds.many_gpus(world, 2)
    worlds.unknown(world)
    app = make_app(session_id=ON.get(screen, "s-amber"))
    async with app.run_test(size=WIDE) as pilot:
        await opened(app, pilot, screen)
        found = Commands(screen_of(app))
        expected = reachable(app, screen)
        assert {key.id for key in found._keys()} == set(expected)
        offered = [hit async for hit in found.discover()]
        done: list[str] = []

        async def note(action: str, *_: Any) -> bool:
            done.append(action)
            return True

        monkeypatch.setattr(app, "run_action", note)
        for hit in offered[: len(expected)]:
            await hit.command()  # type: ignore[misc]
        assert sorted(done) == sorted(expected.values())
        own = [key for key in TABLE if key.where == screen]
        impossible = {
            "logs.next",
            "logs.previous",
            "wizard.less",
            "wizard.more",
            "wizard.every",
            "wizard.ask",
        }
        assert {key.id for key in own} - impossible <= set(expected), (
            "with something to show, each can be done"
        )


def test_every_key_stands_in_a_place_that_the_palette_looks_at() -> None:
    """The rest are the answers of dialogs, which show their keys themselves."""
    places = {*PLACES, "wizard", "app", "list", "replay"}
    dialogs = {key.where for key in TABLE} - places
    assert dialogs == {"terminate", "stranger", "steer", "quit"}
    assert set(SECTIONS) == places
    assert all(bindings(place) for place in {key.where for key in TABLE})


async def test_what_acts_on_the_list_acts_on_the_one_behind_the_palette(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        before = app.selected
        await keys(pilot, "colon", *"one row down")
        await pilot.pause(0.4)
        await keys(pilot, "enter")
        await pilot.pause(0.2)
        assert app.selected != before, "the cursor has moved"


async def test_a_name_in_the_palette_is_no_markup(make_app: MakeApp, world: worlds.World) -> None:
    evil = "[@click=app.leave]gale[/] [red]x[/red] \x1b[31m"
    world.store.update("s-gale", name=evil, job=evil)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "colon", *"gale logs")
        await pilot.pause(0.4)
        shown = "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())
        assert "[@click=app.leave]gale[/] [red]x[/red]  › Logs" in shown
        found = [hit async for hit in Commands(screen_of(app)).search("gale")]
        assert not any("@click" in str(span) for hit in found for span in hit.match_display.spans)  # type: ignore[union-attr]
