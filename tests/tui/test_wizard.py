"""The launch wizard and the unknown instances, driven by keys."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from gpusess.errors import SessionError
from gpusess.providers.base import Offer
from gpusess.sessions.offers import Answer
from gpusess.sessions.wizard import Guard, most, overrides
from gpusess.spec import parse_spec
from gpusess.tui import status
from gpusess.tui.app import CockpitApp
from gpusess.tui.dialogs import Dialog
from gpusess.tui.screens.wizard import HELD
from gpusess.tui.screens.wizard_choices import REST
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
        assert "▲ 2 instances that nobody here knows: $4.98/h (u in Fleet asks)" in said
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


async def test_offers_come_one_provider_after_the_other(
    make_app: MakeApp, intents: worlds.FakeIntents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes its time does not hold up the others, and the wait is said."""
    go = threading.Event()

    def offers(*, ask: bool, on_answer: Callable[[Answer], None] | None = None) -> list[Answer]:
        if ask and on_answer:
            on_answer(worlds.ANSWERS[0])
            go.wait(5)
        return worlds.ANSWERS if ask else []

    monkeypatch.setattr(intents, "offers", offers)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "n")
        await pilot.pause(0.1)
        await keys(pilot, "enter")
        await pilot.pause(0.1)
        assert "2.49" in text(app, "#choices")
        assert "asking the providers, 0 s (at most 45 s)" in title(app)
        go.set()
        await ready(pilot)
        assert "1.72" in text(app, "#choices")
        assert "asking" not in title(app)
        cursor = text(app, "#choices").splitlines()[2]
        assert cursor.startswith("▌")
        assert "2.49" in cursor, "the cursor has stayed on its offer, below a cheaper one"


async def test_offers_are_live(make_app: MakeApp, intents: worlds.FakeIntents, world: worlds.World) -> None:
    """They are asked for again while one chooses, and what has become of the chosen one is said."""
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "enter", "j", "enter")
        await ready(pilot)
        first = worlds.ANSWERS[0]
        for changed, said in (
            ({"price": 2.99}, "it costs $2.99/h by now: choose it again"),
            ({"available": False}, "there is no room now"),
        ):
            offers = [replace(o, **changed) if o.name == "gpu_1x_h100" else o for o in first.offers]
            intents.answers = [replace(first, offers=offers)]
            world.clock.now += 31
            app.refresh_board()
            await ready(pilot)
            assert said in text(app, "#details")
        intents.answers = [replace(first, offers=first.offers[1:])]
        world.clock.now += 31
        app.refresh_board()
        await ready(pilot)
        assert "it is offered no more" in text(app, "#details")


async def test_the_row_says_what_the_job_comes_to_there(make_app: MakeApp) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "enter", "j")
        await pilot.pause(REST + 0.1)
        await ready(pilot)
        assert "start 3:10   work 40:00 to 51:40   cost $1.79 to $2.28" in text(app, "#details")
        await keys(pilot, "enter")
        await ready(pilot)
        assert "today     $2.53 so far + $2.28, of $20.00" in text(app, "#details")


async def test_an_enter_that_is_held_down_rents_nothing(
    make_app: MakeApp, intents: worlds.FakeIntents
) -> None:
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "enter")
        await ready(pilot)
        await keys(pilot, *["enter"] * 12)
        await ready(pilot)
        assert intents.asked == []
        assert "▌" in text(app, "#choices").splitlines()[-1], "it stands on the button"
        await pilot.pause(HELD + 0.05)
        await keys(pilot, "enter")
        await ready(pilot)
        assert [asked[0] for asked in intents.asked] == ["launch"]


async def test_own_machines_are_offered_to_a_job_that_names_them(
    make_app: MakeApp, intents: worlds.FakeIntents, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(worlds.ANSWERS[0].offers[0], provider="local", name="local-cpu", gpu="", gpus=0, price=0.0)
    intents.own = [Answer("local", [here], at=worlds.NOW)]
    own = replace(worlds.JOBS[0], name="here", providers=("local",), gpus=())
    monkeypatch.setattr(worlds, "JOBS", [own, worlds.JOBS[0]])
    async with make_app().run_test(size=WIDE) as pilot:
        app = await open_wizard(pilot)
        await keys(pilot, "enter")
        await ready(pilot)
        assert "local-cpu" in text(app, "#choices")
        await keys(pilot, "escape", "j", "enter", "a")
        await ready(pilot)
        assert "local-cpu" not in text(app, "#choices")


async def test_going_elsewhere_while_it_starts_loses_no_screen(
    make_app: MakeApp, intents: worlds.FakeIntents, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(intents, "launch", lambda *_: go.wait(5) and "s-amber")
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await open_wizard(pilot)
        await keys(pilot, "enter")
        await ready(pilot)
        await keys(pilot, "enter")
        await ready(pilot)
        await keys(pilot, "G", "enter", "escape")
        assert "launching…" in text(app, "#details"), "it cannot be called back by leaving"
        await keys(pilot, "8")
        go.set()
        await ready(pilot)
        assert (screen_of(app).id, app.selected) == ("cost", "s-amber")
        await keys(pilot, "1")
        await pilot.pause()
        assert screen_of(app).id == "fleet"


def title(app: CockpitApp) -> str:
    return str(screen_of(app).query_one("#choices").border_title)
