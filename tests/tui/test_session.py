"""The Session screen: its way and medians, what ends it, its ssh command, and what went there and came home."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from textual.pilot import Pilot

from gpusess.errors import SessionError
from gpusess.sessions import traffic
from gpusess.sessions.phases import Usual, phases
from gpusess.tui.app import CockpitApp
from gpusess.tui.panes.session import way_lines
from gpusess.tui.panes.session_instance import Details
from gpusess.tui.screens.session import SessionScreen
from gpusess.tui.spans import plain

from . import world as worlds
from .conftest import MakeApp
from .test_app import SMALL, WIDE, keys, screen_of, settled, text


@asynccontextmanager
async def on_session(app: CockpitApp, size: tuple[int, int]) -> AsyncIterator[Pilot[None]]:
    """The Session screen, with what it reads in threads."""
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await keys(pilot, "2")
        await app.workers.wait_for_complete()
        await pilot.pause()
        yield pilot


async def test_the_way_has_times_durations_and_medians(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with on_session(app, WIDE):
        assert app.current_mode == "session"
        way = text(app, "#way")
        assert "✓ boot     14:41:28     1:48  usual 1:25 (1)" in way
        assert "● run      14:45:26    24:00" in way
        assert "○ end" in way


async def test_what_ends_it_names_every_limit(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app(session_id="s-amber")
    async with on_session(app, WIDE) as pilot:
        ends = text(app, "#ends")
        for words in (
            "a process here drives it",
            "$1.18 of $4.00",
            "run's end $1.76",
            "in 2:50:34",
            "30 min",
        ):
            assert words in ends
        await keys(pilot, "left_square_bracket")
        assert "nobody drives it" in text(app, "#ends")
        assert "none: it may run on for ever" in text(app, "#ends")


async def test_a_budget_that_the_run_will_break_is_said(make_app: MakeApp, world: worlds.World) -> None:
    options = world.store.session("s-amber").options
    world.store.update("s-amber", options={**options, "budget": 1.5, "notice": "terminate at 15:20"})
    app = make_app(session_id="s-amber")
    async with on_session(app, WIDE):
        pane = screen_of(app).query_one("#ends")
        inks = {part: ink for line in pane._lines for part, ink in line}  # type: ignore[attr-defined]
        assert inks["▲ run's end $1.76"] == "err"
        assert "the provider takes it away" in text(app, "#ends")


async def test_the_ssh_command_comes_from_a_thread_and_is_copied(
    make_app: MakeApp, intents: worlds.FakeIntents
) -> None:
    app = make_app(session_id="s-amber")
    async with on_session(app, SMALL) as pilot:
        assert "ssh -p 2222 ubuntu@192.0.2.7" in text(app, "#facts")
        await keys(pilot, "y")
        assert app.clipboard == "ssh -p 2222 ubuntu@192.0.2.7"


async def test_a_long_ssh_command_is_shown_by_its_destination_and_copied_whole(
    make_app: MakeApp, intents: worlds.FakeIntents
) -> None:
    options = [word for i in range(9) for word in ("-o", f"Option{i}=/a/long/path/{i}")]
    intents.argv = ["ssh", *options, "-p", "2222", "ubuntu@192.0.2.7"]
    app = make_app(session_id="s-amber")
    async with on_session(app, SMALL) as pilot:
        assert "ubuntu@192.0.2.7, port 2222   y copies the command" in text(app, "#facts")
        await keys(pilot, "y")
        assert app.clipboard.split() == intents.argv


async def test_an_instance_that_cannot_be_reached_says_why(
    make_app: MakeApp, intents: worlds.FakeIntents
) -> None:
    intents.refuse = SessionError("no key is pinned [yet]", "wait until it has booted")
    app = make_app(session_id="s-amber")
    async with on_session(app, WIDE):
        assert "no key is pinned [yet] (wait until it has booted)" in text(app, "#facts")


async def test_what_was_not_read_yet_is_not_said_to_be_nothing(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with on_session(app, WIDE) as pilot:
        screen = screen_of(app)
        assert isinstance(screen, SessionScreen)
        screen._details.clear()
        app.tick()
        await pilot.pause()
        assert text(app, "#sync") == "reading what lies here…"
        assert "no instance to reach" not in text(app, "#facts")


async def test_there_and_back(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app(session_id="s-amber")
    async with on_session(app, WIDE) as pilot:
        sync = text(app, "#sync")
        for words in ("↑ code", "412.0 kB, 112.0 MB/s", "3.1 GB", "at home", "last record 5 s ago"):
            assert words in sync
        screen = screen_of(app)
        assert isinstance(screen, SessionScreen)
        found = screen.details("s-amber")
        pulled = (traffic.Pulled("s-amber-0", "step-300", 300, 3_100_000_000, worlds.NOW - 40),)
        screen._take("s-amber", Details(traffic.Traffic(found.traffic.sent, 10, pulled), rate=2000.0))
        await pilot.pause()
        assert "step-300  3.1 GB" in text(app, "#sync")
        assert "10 B at home, 2.0 kB/s" in text(app, "#sync")


async def test_a_checkpoint_on_its_way_home_has_a_pace_and_an_end(
    make_app: MakeApp, world: worlds.World
) -> None:
    app = make_app(session_id="s-amber")
    async with on_session(app, WIDE) as pilot:
        screen = screen_of(app)
        assert isinstance(screen, SessionScreen)

        async def sync_of(coming: traffic.Coming) -> str:
            screen._take("s-amber", Details(traffic.Traffic(coming=(coming,))))
            await pilot.pause()
            return text(app, "#sync")

        made = traffic.Coming("s-amber-0", "step-300", 300, 3_100_000_000, 1_200_000_000, 1e8, worlds.NOW - 1)
        said = await sync_of(made)
        assert "↓ coming     step-300  1.2 GB of 3.1 GB" in said
        assert "100.0 MB/s, 0:19 to go" in said
        assert "nothing came for" in await sync_of(replace(made, at=worlds.NOW - 40))
        world.let_go()
        app.refresh_board()
        await pilot.pause()
        assert "cut off: nobody drives it" in await sync_of(made)


async def test_a_failed_session_says_what_it_costs_meanwhile(make_app: MakeApp) -> None:
    app = make_app(session_id="s-frost")
    async with on_session(app, SMALL):
        head = text(app, "#session-head")
        for words in ("refused the connection", "r tries again", "still bills $0.34/h"):
            assert words in head
        assert "✗ connect" in text(app, "#way")


async def test_one_that_has_ended_says_who_said_so(make_app: MakeApp) -> None:
    app = make_app(session_id="s-gale")
    async with on_session(app, WIDE):
        assert "the provider says that it is gone" in text(app, "#way")
        assert "nothing bills" in text(app, "#ends")
        assert "the instance is gone" in text(app, "#facts")


def test_a_phase_that_takes_too_long_is_marked(world: worlds.World) -> None:
    session = world.board().refresh().session("s-dusk")
    assert session
    boot = next(phase for phase in phases(session) if phase.name == "boot")
    assert boot.seconds == 72
    lines = [plain(line) for line in way_lines(session, {"boot": Usual(40, 5)}, 120)]
    assert "▲ longer than usual" in lines[1]
    assert not any("longer" in plain(line) for line in way_lines(session, {"boot": Usual(60, 5)}, 120))
