"""The Cost screen: sums that agree with the ledger, the day's projection, the providers' own figures, and what
bills beside instances; and Fleet's chart of the day.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gpusess.sessions import money
from gpusess.sessions.leftovers import Found
from gpusess.tui.panes.cost import Beside, beside_lines
from gpusess.tui.screens.cost import CostScreen
from gpusess.tui.spans import plain
from gpusess.tui.widgets.pane import Pane
from gpusess.tui.widgets.row_table import RowTable

from . import world as worlds
from .conftest import MakeApp
from .test_app import SMALL, WIDE, keys, screen_of, settled, text


async def opened(pilot: Any) -> CostScreen:
    await settled(pilot)
    await keys(pilot, "8")
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    screen = screen_of(pilot.app)
    assert isinstance(screen, CostScreen)
    return screen


async def test_sessions_with_their_price_of_a_thousand(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot)
        assert app.current_mode == "cost"
        amber = next(line for line in text(app, "#sums").splitlines() if "amber-finch" in line)
        assert amber.split()[1] == "1.18"
        for words in ("2.49", "1.44", "1.76", "4.00", "● running"):
            assert words in amber
        total = sum(money.spent(s.rentals, app.fleet.now) for s in app.fleet.sessions)
        assert sum(row.spent for row in screen._rows) == pytest.approx(total)
        assert f"in all ${total:.2f}" in text(app, "#cost-head")


async def test_views_and_periods(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot)
        seen = {}
        for by in ("provider", "day", "instance", "session"):
            await keys(pilot, "v")
            assert screen.by == by
            seen[by] = text(app, "#sums")
        assert "runpod" in seen["provider"]
        assert "Sat 14 Mar" in seen["day"]
        assert "gpusess-s-amber-1" in seen["instance"]
        await keys(pilot, "p")
        assert screen.period == "today"
        assert "by session, today" in text(app, "#cost-head")


async def test_a_row_opens_its_session(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await keys(pilot, "g", "j")
        assert app.selected == "s-amber", "what keys act on is the row that has the cursor"
        await keys(pilot, "x")
        assert "amber-finch" in app.screen.query_one(Pane).text
        await keys(pilot, "escape", "enter")
        assert (app.current_mode, app.selected) == ("session", "s-amber")


async def test_the_day_comes_to_more_than_its_budget(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        today = text(app, "#today")
        for words in (
            "$2.53 of $20.00",
            "by midnight $50.37",
            "if $5.41/h goes on",
            "the budget is spent at 18:23",
        ):
            assert words in today


async def test_what_bills_beside_is_asked_in_a_thread_and_again_with_a_key(
    make_app: MakeApp, intents: worlds.FakeIntents
) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        said = text(app, "#beside")
        for words in (
            "file system data (200 GiB",
            "its price is not given",
            "$0.0561/h, ours",
            "vast is in trouble",
        ):
            assert words in said.replace("\n", " ")
        intents.beside = []
        await keys(pilot, "u")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert intents.looks_beside == 2
        assert "no provider with a key has such things" in text(app, "#beside")


async def test_old_answers_stay_while_the_providers_are_asked(
    make_app: MakeApp, intents: worlds.FakeIntents, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, answer = make_app(), threading.Event()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        monkeypatch.setattr(intents, "leftovers", lambda: answer.wait(5) and [])
        await keys(pilot, "u")
        said = text(app, "#beside")
        assert "◐ asking the providers, 0 s" in said
        assert "file system data" in said
        answer.set()
        await app.workers.wait_for_complete()


async def test_the_providers_figure_that_differs_is_an_alarm(make_app: MakeApp, world: worlds.World) -> None:
    worlds.unknown(world)
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        said = text(app, "#listings").replace("\n", " ")
        assert "lambda     2 instances at $4.98/h" in said
        assert "▲ $2.49/h more than our ledger held" in said
        world.store.ledger.missed("lambda", "", worlds.NOW, "lambda does not answer")
        app.refresh_board()
        await pilot.pause()
        assert "✗ the last try: lambda does not answer" in text(app, "#listings")


async def test_nothing_was_spent(empty_world: worlds.World, intents: worlds.FakeIntents) -> None:
    from gpusess.tui.app import CockpitApp
    from gpusess.tui.settings import TuiSettings

    app = CockpitApp(empty_world.board(), intents, settings=TuiSettings(theme="dark"))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        assert "Nothing was spent" in text(app, "#sums")
        assert "nothing bills" in text(app, "#today")
        assert "no provider was asked" in text(app, "#listings")
        await keys(pilot, "enter")
        assert app.current_mode == "cost"


def test_nobody_asked_is_not_nothing_there() -> None:
    assert [plain(line) for line in beside_lines(Beside(), 0.0, 60)] == ["nobody has been asked (u asks)"]
    clean = beside_lines(Beside((Found("lambda"),), at=10.0), 70.0, 60)
    assert [plain(line) for line in clean] == ["✓ nothing bills beside instances", "as of 00:00:10, 60 s ago"]


async def test_fleet_draws_the_day_with_its_projection(make_app: MakeApp) -> None:
    app = make_app(day_budget=60.0)
    async with app.run_test(size=(200, 60)) as pilot:
        await settled(pilot)
        await keys(pilot, "j", "j")
        pane = screen_of(app).query_one("#spend")
        assert str(pane.border_title).strip() == "Today $2.53 → $50.37 by midnight, budget $60.00"
        inks = {ink for line in pane._lines for _, ink in line}  # type: ignore[attr-defined]
        assert {"data", "dim", "warn"} <= inks, "spent, to come, the budget"
        assert "batch 70" in text(app, "#tail"), "there is room for the log of the row"
        assert screen_of(app).query_one("#sessions", RowTable).count == 4
