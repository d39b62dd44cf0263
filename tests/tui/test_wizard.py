"""The launch wizard and the unknown instances, driven by keys."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from gpusess.errors import SessionError
from gpusess.providers.base import Offer
from gpusess.sessions.wizard import Guard, most, overrides
from gpusess.spec import parse_spec
from gpusess.tui import status
from gpusess.tui.app import CockpitApp
from gpusess.tui.dialogs import Dialog
from gpusess.tui.screens.wizard_rows import adjusted

from . import world as worlds
from .conftest import MakeApp
from .test_app import WIDE, keys, screen_of, settled, text


async def ready(pilot: Pilot[Any]) -> None:
    """Until the wizard's threads have answered."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    await settled(pilot)


async def open_wizard(pilot: Pilot[Any]) -> CockpitApp:
    app = pilot.app
    assert isinstance(app, CockpitApp)
    await settled(pilot)
    await keys(pilot, "n")
    await ready(pilot)
    assert screen_of(app).id == "wizard"
    return app


async def test_job_then_gpu_then_review_then_launch(make_app: MakeApp, intents: worlds.FakeIntents) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        assert "gsm8k" in text(app, "#choices")
        await keys(pilot, "enter")
        await ready(pilot)
        offers = text(app, "#choices")
        assert "1.72" in offers
        assert "A10" not in offers, "it does not fit the job"
        assert offers.index("1.72") < offers.index("2.49") < offers.index("1.99"), (
            "what is sold out comes last"
        )
        assert "vast is in trouble (502)" in text(app, "#details")
        await keys(pilot, "j", "enter")
        await ready(pilot)
        review = text(app, "#details")
        for words in ("gpu_1x_h100 in us-east-1 at lambda", "3:10 (median of 4)", "$1.79 to $2.28", "$10.38"):
            assert words in review
        assert "Launch: $2.49/h" in text(app, "#choices")
        await keys(pilot, "l", "G", "enter")
        await ready(pilot)
        assert intents.asked == [
            ("launch", "gsm8k", "gpu_1x_h100", 2.49, Guard(None, 4.0, 1800.0)),
        ]
        assert screen_of(app).id == "fleet"
        assert app.selected == "s-amber"


async def test_limits_are_changed_and_what_they_come_to_is_shown(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "enter")
        await keys(pilot, "enter")
        await ready(pilot)
        assert "spot: it may be taken away" in text(app, "#details")
        await keys(pilot, "h")
        await ready(pilot)
        assert "$1,000" in text(app, "#choices")
        await keys(pilot, "l", "j", *["l"] * 9)
        await ready(pilot)
        assert "nothing limits what it may cost" in text(app, "#details")


async def test_a_broken_spec_cannot_be_chosen(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "j", "enter")
        assert "found 'H100:0'" in text(app, "#details")
        assert "What is to run" in str(screen_of(app).query_one("#choices").border_title)


async def test_all_offers_a_filter_and_the_way_back(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "enter", "a")
        assert "A10" in text(app, "#choices")
        await keys(pilot, "slash", "s", "w", "e", "d", "enter")
        assert "1.72" in text(app, "#choices")
        assert "2.49" not in text(app, "#choices")
        await keys(pilot, "escape")
        assert "2.49" in text(app, "#choices")
        await keys(pilot, "escape", "escape")
        assert screen_of(app).id == "fleet"


async def test_a_refused_launch_says_why_and_stays(make_app: MakeApp, intents: worlds.FakeIntents) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "enter", "enter")
        await ready(pilot)
        intents.refuse = SessionError("the secret HF_TOKEN: not given", "export it")
        await keys(pilot, "G", "enter")
        await ready(pilot)
        assert screen_of(app).id == "wizard"
        assert [n.title for n in app._notifications] == ["the secret HF_TOKEN: not given"]


async def test_keys_of_sessions_do_nothing_there(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "x")
        assert not isinstance(app.screen, Dialog)


@pytest.mark.parametrize(("key", "answer"), [("a", "adopt"), ("y", "terminate"), ("i", "ignore")])
async def test_unknown_instances_have_rows_and_a_question(
    make_app: MakeApp, world: worlds.World, intents: worlds.FakeIntents, key: str, answer: str
) -> None:
    worlds.unknown(world)
    async with make_app().run_test(size=WIDE) as pilot:
        app = pilot.app
        assert isinstance(app, CockpitApp)
        await settled(pilot)
        rows = text(app, "#strangers")
        for words in ("i-77", "i-78", "lambda", "is in no ledger here", "2 min ago"):
            assert words in rows
        said = [line for _, line in status.alarms(app.fleet, None)]
        assert "▲ 2 instances that nobody here knows: $4.98/h (u asks)" in said
        await keys(pilot, "tab", "j", "enter")
        assert isinstance(app.screen, Dialog)
        await keys(pilot, "enter")
        assert intents.asked == [], "the harmless choice has the focus"
        await keys(pilot, "u", key)
        assert intents.asked == [("stranger", "lambda", "i-78", answer)]


def test_steps_of_a_limit_hold_the_specs_own() -> None:
    guard = Guard(3.0, None, 2700.0)
    assert adjusted(guard, 0, 1).budget == 5
    assert adjusted(guard, 0, -1).budget == 2
    assert adjusted(guard, 1, 1).max_hours is None
    assert adjusted(guard, 1, -1).max_hours == 96
    assert adjusted(guard, 2, 1).lease == 3600
    assert adjusted(guard, 3, -1).wait is None
    assert adjusted(guard, 4, 1) == guard, "the button has no steps"


def test_what_was_chosen_stands_in_the_specs_place() -> None:
    text = (
        "name: x\nresources: {provider: [lambda, vast], gpu: H100, max_price: 9, options: {vast: {disk: 5}}}\n"
        "runs: [{name: r, model: org/m, task: {name: word_problems}}]\n"
    )
    spec = parse_spec(text, "x.yaml", worlds.Path())
    offer = Offer("lambda", "t", "us-1", 2.491, "H100", 1, 8, 64.0, True)
    assert overrides(spec, offer, Guard(10.0, None, 1800.0)) == {
        "provider": ["lambda"], "gpu": [], "region": ["us-1"], "spot": "no", "max_price": 2.5, "budget": 10.0,
        "max_hours": None, "lease": "1800s", "options": {},
    }  # fmt: skip
    assert most(2.0, Guard(None, 4.0, 1800.0)) == pytest.approx(8.0 + 2.0 / 6)
    assert most(2.0, Guard(None, None, 1800.0)) is None
