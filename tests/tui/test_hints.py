"""Texts that name keys go by the user's own table, and keys that mean two things are told."""

from __future__ import annotations

from gpusess.tui import status
from gpusess.tui.app import CockpitApp
from gpusess.tui.keys import Keys
from gpusess.tui.looking import LookOnly
from gpusess.tui.settings import TuiSettings

from . import world as worlds
from .conftest import MakeApp
from .test_app import SMALL, WIDE, keys, screen_of, settled, text


async def test_texts_name_the_keys_that_are_in_use(make_app: MakeApp) -> None:
    mine = {"session.resume": "ctrl+r", "session.terminate": "delete", "session.alarm": "ctrl+n", "copy": "Y"}
    app = make_app(session_id="s-frost", keys=mine)
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert "(ctrl+r resume, delete terminate)" in text(app, "#alarms")
        assert "ctrl+r resume, delete terminate" in text(app, "#header")
        await keys(pilot, "right_square_bracket", "2")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "(ctrl+n goes there)" in text(app, "#alarms"), "its keys would act on another session"
        assert "ssh (Y)" in text(app, "#facts")


async def test_a_key_leads_to_what_needs_somebody(make_app: MakeApp, world: worlds.World) -> None:
    world.store.update("s-amber", options={"notice": "terminate at 15:20"})
    app = make_app(session_id="s-gale")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        seen = []
        for _ in range(3):
            await keys(pilot, "exclamation_mark")
            seen.append(app.selected)
        assert seen == ["s-frost", "s-amber", "s-frost"]
        assert app.current_mode == "run", "the screen stays"


async def test_where_nothing_is_wrong_it_does_nothing(
    empty_world: worlds.World, intents: worlds.FakeIntents
) -> None:
    app = CockpitApp(empty_world.board(), intents, settings=TuiSettings(theme="dark"))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert not app.possible("app.alarm")
        await keys(pilot, "exclamation_mark")


async def test_a_cockpit_that_only_looks_offers_nothing_that_acts(
    world: worlds.World, intents: worlds.FakeIntents
) -> None:
    app = CockpitApp(world.board(), LookOnly(intents), session_id="s-frost")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot)
        for words in ("Terminate", "Resume", "New"):
            assert words not in text(app, "#keybar")
        assert "terminate)" not in text(app, "#alarms")
        for key in ("x", "r", "1", "n"):
            await keys(pilot, key)
            assert screen_of(app) is app.screen, "no dialog, no wizard"
        assert {n.title for n in app._notifications} == {"this cockpit only looks"}
        assert intents.asked == []


def test_a_remapping_that_collides_is_told() -> None:
    assert Keys().clashes == []
    assert Keys({"session.next": "n"}).clashes == [
        "n: session.next, fleet.launch (Fleet)",
        "n: session.next, train.more (Train)",
        "n: session.next, results.none (Results)",
        "n: session.next, logs.next (Logs)",
    ]
    assert Keys({"session.next": "x"}).clashes == ["x: session.next, session.terminate (Everywhere)"]
    assert Keys({"session.next": "x", "session.terminate": "delete"}).clashes == [], "they were exchanged"
    assert Keys({"terminate.now": "n"}).clashes == ["n: terminate.now, terminate.no (the dialog `terminate`)"]
    assert Keys({"session.next": "]"}).clashes == []


async def test_it_is_told_when_the_cockpit_opens(make_app: MakeApp) -> None:
    app = make_app(keys={"session.next": "x"})
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot)
        (note,) = app._notifications
        assert note.title == "Keys that mean two things"
        assert "x: session.next, session.terminate (Everywhere)" in note.message


def test_without_an_app_the_built_in_keys_are_named(world: worlds.World) -> None:
    frost = next(s for s in world.board().refresh().sessions if s.row.id == "s-frost")
    fleet = world.board().refresh()
    lines = [line for _, line in status.alarms(fleet, None, "s-frost")]
    assert lines[0] == "✗ frost-egret: failed and still bills $0.34/h (r resume, x terminate)"
    assert status.needs_somebody(frost)
