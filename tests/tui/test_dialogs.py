"""What the dialogs say: what would be lost, what bills on, and no choice that means nothing."""

from __future__ import annotations

import pytest
from textual import events

from gpusess.cli.attach import goes_on
from gpusess.sessions.board import FleetView
from gpusess.sessions.states import State
from gpusess.tui.dialogs import Dialog, HelpScreen, quit_dialog, terminate_dialog
from gpusess.tui.keys import Keys
from gpusess.tui.reaching import harmless
from gpusess.tui.spans import plain

from . import trainings
from . import world as worlds
from .conftest import MakeApp
from .test_app import SMALL, keys, screen_of, settled


def said(dialog: Dialog) -> str:
    return " ".join(" ".join(plain(line) for line in dialog._body).split())


def choices(dialog: Dialog) -> list[str]:
    return [id.partition(".")[2] for id, _, _ in dialog._choices]


def asked(fleet: FleetView, id: str, at_home: tuple[str, ...] = ()) -> Dialog:
    session = fleet.session(id)
    assert session
    return terminate_dialog(session, fleet, Keys(), at_home)


def test_it_names_what_is_lost_and_what_bills_on(world: worlds.World) -> None:
    dialog = asked(world.board().refresh(), "s-amber")
    for words in (
        "amber-finch 1×H100 SXM at lambda",
        "$1.18 so far, then $2.49/h until lambda says it is gone",
        "gsm8k-8shot: 818 of 1,319 results are home, 14 in flight. It goes on, and would end unfinished.",
        "svamp would not begin.",
        "2 other sessions bill on: $2.92/h.",
    ):
        assert words in said(dialog)
    assert choices(dialog) == ["no", "stop", "pull", "now"]


def test_where_nothing_has_begun_nothing_is_pulled(world: worlds.World) -> None:
    dialog = asked(world.board().refresh(), "s-dusk")
    assert "nothing to lose" in said(dialog)
    assert choices(dialog) == ["no", "now"]
    assert dialog._choices[1][1] == "Terminate it"


@pytest.mark.parametrize(
    ("home", "words"), [((), "step-000150, is not at home"), (("step-000150",), "step-000150, is at home")]
)
def test_a_training_names_its_checkpoint(world: worlds.World, home: tuple[str, ...], words: str) -> None:
    trainings.collapsing(world)
    dialog = asked(world.board().refresh(), "s-ember", home)
    assert "step 171 of 400 is home" in said(dialog)
    assert words in said(dialog)


def test_what_is_being_given_back_is_not_said_to_be_gone(world: worlds.World) -> None:
    world.store.move("s-amber", State.DRAINING)
    world.clock.now += 9
    dialog = asked(world.board().refresh(), "s-amber")
    assert "Its results have been coming home for 0:09; then it is given back." in said(dialog)
    assert "stop" not in choices(dialog)
    world.store.move("s-amber", State.TERMINATING)
    world.clock.now += 61
    fleet = world.board().refresh()
    dialog = asked(fleet, "s-amber")
    assert "It has been given back for 1:01; lambda has not confirmed it." in said(dialog)
    assert "$2.49/h until lambda says it is gone" in said(dialog)
    assert choices(dialog) == ["no", "now"]


def test_leaving_says_one_session_and_several(world: worlds.World) -> None:
    fleet = world.board().refresh()
    assert "3 sessions bill on, $5.41/h." in said(quit_dialog(fleet, Keys()))
    assert goes_on(fleet) == ["go on, $5.41/h: dusk-swift, frost-egret, amber-finch"], (
        "the failed one bills too"
    )
    fleet.sessions = [s for s in fleet.sessions if s.row.id == "s-frost"]
    fleet.burn = 0.34
    assert "1 session bills on, $0.34/h." in said(quit_dialog(fleet, Keys()))
    assert goes_on(fleet) == ["goes on, $0.34/h: frost-egret"]


def test_what_nobody_knows_is_named_when_leaving(empty_world: worlds.World) -> None:
    worlds.unknown(empty_world)
    (line,) = goes_on(empty_world.board().refresh())
    assert line == "bills beside that, $4.98/h: what nobody here knows (`gpusess instances`)"


def test_what_is_copied_cannot_act_on_a_terminal() -> None:
    text = "one \x1b[31mred\x1b[0m \x9b31m\u202egnp\x07\ntwo\t3" + "x" * 9000
    assert harmless(text) == "one red \ufffd31mgnp\ufffd\ntwo    3" + "x" * 9000


@pytest.mark.parametrize("dialog", ["x", "q", "question_mark", "colon"])
async def test_the_focus_comes_back_after_a_dialog(make_app: MakeApp, dialog: str) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        for screen in ("1", "2", "3", "6", "7", "8"):
            await keys(pilot, screen, "tab")
            before = screen_of(app).focused
            assert before is not None
            await keys(pilot, dialog)
            assert app.screen is not screen_of(app)
            await pilot.resize_terminal(100, 30)
            await keys(pilot, "escape")
            await pilot.resize_terminal(*SMALL)
            assert app.screen is screen_of(app)
            assert app.focused is before


@pytest.mark.parametrize("key", ["r", "x", "q", "3", "escape"])
async def test_the_key_that_closes_the_help_does_nothing_else(
    make_app: MakeApp, intents: worlds.FakeIntents, key: str
) -> None:
    app = make_app(session_id="s-frost")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, "2", "question_mark")
        assert isinstance(app.screen, HelpScreen)
        await keys(pilot, key)
        assert app.screen is screen_of(app)
        assert (app.current_mode, intents.asked) == ("session", [])


async def test_a_second_key_on_its_way_closes_nothing_more(make_app: MakeApp) -> None:
    """It comes while the dialog goes: one screen is left, and no app falls over."""
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, "question_mark")
        modal = app.screen
        assert isinstance(modal, HelpScreen)
        for _ in range(3):
            modal.post_message(events.Key("escape", None))
        await settled(pilot)
        assert len(app.screen_stack) == 1
        await keys(pilot, "x")
        dialog = app.screen
        assert isinstance(dialog, Dialog)
        for _ in range(3):
            dialog.action_take()
        await settled(pilot)
        assert len(app.screen_stack) == 1
