"""The app driven by keys: what it shows as text, which intents it sends, and what it does not redraw."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.pilot import Pilot

from gpusess.errors import SessionError
from gpusess.tui.app import CockpitApp
from gpusess.tui.dialogs import Dialog, HelpPane, HelpScreen
from gpusess.tui.keys import SECTIONS, TABLE, Keys, bindings
from gpusess.tui.screens.base import CockpitScreen, LineWidget
from gpusess.tui.settings import TuiSettings
from gpusess.tui.spans import Line, plain
from gpusess.tui.theme import DARK, Inks
from gpusess.tui.widgets.log_view import LogView
from gpusess.tui.widgets.pane import Pane
from gpusess.tui.widgets.row_table import Column, RowTable

from . import world as worlds
from .conftest import MakeApp

WIDE, SMALL = (120, 40), (80, 24)
SCREEN_KEYS = [key.keys for key in TABLE if key.id.startswith("screen.")]


def screen_of(app: CockpitApp) -> CockpitScreen:
    screen = app.base_screen()
    assert screen is not None
    return screen


def text(app: CockpitApp, selector: str) -> str:
    widget = screen_of(app).query_one(selector)
    assert isinstance(widget, LineWidget)
    return widget.text


async def settled(pilot: Pilot[Any]) -> None:
    """Until everything on disk is folded and shown."""
    await pilot.pause()
    app = pilot.app
    assert isinstance(app, CockpitApp)
    while app.fleet.catching_up:
        await pilot.pause(0.02)
    await pilot.pause()


async def keys(pilot: Pilot[Any], *names: str) -> None:
    for name in names:
        await pilot.press(name)
    await pilot.pause()


async def test_fleet_shows_every_session_with_word_progress_and_money(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        rows = text(app, RowTable.__name__)
        for words in (
            "● running",
            "◐ booting",
            "✗ failed",
            "✓ done",
            "62%",
            "acc 62.2 ±3.3",
            "2×A100 80G",
            "2.49",
        ):
            assert words in rows
        assert "1 live" in text(app, "#status")
        assert "$5.41/h" in text(app, "#status")
        assert "failed and still bills $0.34/h" in text(app, "#alarms")


async def test_run_shows_what_the_reducer_says(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        state = app.session.run.state  # type: ignore[union-attr]
        now = text(app, "#now")
        assert f"{state.right}" in now
        assert "62.2 %" in now
        assert "58.9 – 65.5" in now
        assert "818 / 1,319" in text(app, "#header")
        assert "run 24:00" in text(app, "#header")
        assert "9 of 16 probe answers" in text(app, "#checks")
        assert "multi-step" in text(app, "#categories")
        assert "batch 70" in text(app, "#tail")


async def test_run_shows_what_was_expected_and_the_difference(make_app: MakeApp, world: worlds.World) -> None:
    expect = {"low": 0.70, "high": 0.74, "says": "the baseline base"}
    (planned,) = (
        r for _, r in worlds.evaluation(total=1319, done=0, start=0, pace=1) if r["kind"] == "planned"
    )
    world.write("s-amber", "s-amber-0", "journal.jsonl", [(1, {**planned, "expect": expect})])
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        now = text(app, "#now")
        for words in ("expected    70.0 – 74.0", "the baseline base", "difference  ▲ -9.8 points"):
            assert words in now
        pane = screen_of(app).query_one("#now", Pane)
        assert ("▲ -9.8 points", "warn bold") in [span for line in pane._lines for span in line]


async def test_numbers_switch_screens_and_escape_goes_back(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        for key, mode in (
            ("3", "run"),
            ("6", "logs"),
            ("escape", "run"),
            ("escape", "fleet"),
            ("escape", "fleet"),
        ):
            await keys(pilot, key)
            assert app.current_mode == mode


async def test_selection_follows_everywhere(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "j", "j", "enter")
        assert app.current_mode == "run"
        assert "gsm8k" in text(app, "#header")
        await keys(pilot, "right_square_bracket")
        assert app.session.row.id == "s-gale"  # type: ignore[union-attr]
        assert "complete" in text(app, "#header")
        await keys(pilot, "1")
        assert screen_of(app).query_one(RowTable).cursor == 3


async def test_terminate_asks_first_and_no_is_the_default(
    make_app: MakeApp, intents: worlds.FakeIntents
) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, "x", "enter")
        assert intents.asked == []
        await keys(pilot, "x")
        assert isinstance(app.screen, Dialog)
        said = app.screen.query_one(Pane).text
        for words in (
            "amber-finch",
            "1×H100 SXM",
            "$2.49/h until lambda says it is gone",
            "818 of 1,319",
            "in flight",
        ):
            assert words in said
        await keys(pilot, "escape")
        assert intents.asked == []
        for answer in ("p", "y", "s"):
            await keys(pilot, "x", answer)
        assert intents.asked == [
            ("terminate", "s-amber", True),
            ("terminate", "s-amber", False),
            ("stop_run", "s-amber", "s-amber-0"),
        ]


async def test_what_has_ended_cannot_be_terminated(make_app: MakeApp, intents: worlds.FakeIntents) -> None:
    app = make_app(session_id="s-gale")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, "x")
        assert not isinstance(app.screen, Dialog)
        await keys(pilot, "r")
        assert intents.asked == []


async def test_a_failed_session_can_be_resumed(make_app: MakeApp, intents: worlds.FakeIntents) -> None:
    app = make_app(session_id="s-frost")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        header = text(app, "#header")
        assert "refused the connection" in header
        assert "r tries again" in header
        assert "r Resume" in text(app, "#keybar")
        await keys(pilot, "r")
        assert intents.asked == [("resume", "s-frost")]


async def test_a_refused_intent_says_why_and_what_next(
    make_app: MakeApp, intents: worlds.FakeIntents
) -> None:
    intents.refuse = SessionError("another process drives this [session]", "attach shows it")
    app = make_app(session_id="s-frost")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot)
        await keys(pilot, "r")
        assert [(n.title, n.message) for n in app._notifications] == [
            ("another process drives this [session]", "attach shows it")
        ]


async def test_quit_says_what_goes_on_billing(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, "q")
        assert isinstance(app.screen, Dialog)
        said = app.screen.query_one(Pane).text
        assert "3 sessions bill on, $5.41/h." in said
        assert "by midnight $50.37" in said
        await keys(pilot, "enter")
        assert app.is_running
        assert not isinstance(app.screen, Dialog)
        await keys(pilot, "ctrl+q", "y")
        assert app._exit


async def test_quit_names_what_nobody_here_knows(
    empty_world: worlds.World, intents: worlds.FakeIntents
) -> None:
    worlds.unknown(empty_world)
    app = CockpitApp(empty_world.board(), intents, settings=TuiSettings(theme="dark"))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, "q")
        assert isinstance(app.screen, Dialog)
        assert "2 unknown instances, $4.98/h beside that" in app.screen.query_one(Pane).text


async def test_quit_does_not_ask_when_nothing_bills(
    empty_world: worlds.World, intents: worlds.FakeIntents
) -> None:
    app = CockpitApp(empty_world.board(), intents, settings=TuiSettings(theme="dark"))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert "No sessions yet." in text(app, "#sessions")
        assert "gpusess up SPEC" in text(app, "#sessions")
        await keys(pilot, "3", "6", "1", "tab", "z", "j", "x", "y", "enter", "q")
        assert app._exit


async def test_filter_and_escape(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "slash", *"acc !done", "enter")
        rows = text(app, "#sessions")
        assert "amber-finch" in rows
        assert "gale-petrel" not in rows
        await keys(pilot, "escape")
        assert "gale-petrel" in text(app, "#sessions")
        assert app.current_mode == "fleet"


async def test_keys_act_on_a_row_that_is_seen(make_app: MakeApp, intents: worlds.FakeIntents) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert app.session
        assert app.session.row.id == "s-dusk"
        await keys(pilot, "slash", *"gsm8k !done", "enter", "x")
        assert "amber-finch" in app.screen.query_one(Pane).text
        await keys(pilot, "p")
        assert intents.asked == [("terminate", "s-amber", True)]


async def test_a_new_session_does_not_slip_under_the_cursor(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        world.session("s-new", "new-one", [(worlds.S.REQUESTED, 0)], ["job"], price=0.5)
        app.refresh_board()
        await pilot.pause()
        assert app.session
        assert app.session.row.id == "s-dusk"
        assert screen_of(app).query_one(RowTable).cursor == 1


async def test_letters_in_a_filter_are_text(make_app: MakeApp, intents: worlds.FakeIntents) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "slash", *"xqr2")
        assert app.current_mode == "fleet"
        assert not isinstance(app.screen, Dialog)
        assert "No session passes" in text(app, "#sessions")


async def test_remapped_keys_and_their_places(make_app: MakeApp, intents: worlds.FakeIntents) -> None:
    app = make_app(session_id="s-amber", keys={"session.terminate": "delete", "session.shell": "ctrl+t"})
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "x")
        assert not isinstance(app.screen, Dialog)
        assert "delete Terminate…" in text(app, "#keybar")
        await keys(pilot, "delete", "p")
        assert intents.asked == [("terminate", "s-amber", True)]
        await keys(pilot, "question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "ctrl+t" in app.screen.query_one(Pane).text
        await keys(pilot, "j")
        assert not isinstance(app.screen, HelpScreen)


def test_no_key_means_two_things_at_once() -> None:
    for context in SECTIONS:
        if context == "replay":
            continue  # its keys hold on every screen of a replay, where what ends or costs something is off
        everywhere = {"app", "list"} if context not in ("app", "list") else set()
        found: dict[str, str] = {}
        for key in TABLE:
            for name in key.keys.split(",") if key.where in {context, *everywhere} else ():
                assert name not in found, (context, name, key.id, found[name])
                found[name] = key.id


def test_every_action_can_have_another_key() -> None:
    """Each of the table's, by its id: the footer and the help follow, and so does Textual's own keymap."""
    wanted = {key.id: f"ctrl+f{i}" for i, key in enumerate(TABLE)}
    assert len(wanted) == len(TABLE)
    changed = Keys(wanted)
    assert not changed.unknown
    assert {key.id: key.keys for key in changed.table} == wanted
    bound = [binding for context in {key.where for key in TABLE} for binding in bindings(context)]
    assert {binding.id for binding in bound if isinstance(binding, Binding)} == set(wanted)


@pytest.mark.parametrize("size", [(60, 16), SMALL, WIDE, (200, 60)])
async def test_help_names_every_key(make_app: MakeApp, size: tuple[int, int]) -> None:
    """Over as many pages as that takes; one of a large terminal holds all."""
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await keys(pilot, "f1")
        pane = app.screen.query_one(HelpPane)
        said = pane.text
        for _ in range(pane.pages - 1):
            await keys(pilot, "space")
            said += pane.text
        for key in Keys().of(*SECTIONS):
            assert key.description[:20] in said, key
        assert pane.pages == 1 or size != (200, 60)
        await keys(pilot, "q")
        assert not isinstance(app.screen, HelpScreen)


async def test_palette_can_do_what_keys_can(make_app: MakeApp, intents: worlds.FakeIntents) -> None:
    from gpusess.tui.palette import Commands

    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        offered = [key.id for key in Commands(app.screen)._keys()]
        possible = [k.id for k in app.keys.of("app", "run") if app.possible(k.action) and k.id != "palette"]
        assert offered == possible
        await keys(pilot, "colon", *"gale logs")
        await pilot.pause(0.4)
        await keys(pilot, "enter")
        await pilot.pause(0.2)
        assert (app.current_mode, app.selected) == ("logs", "s-gale"), "any session by its name"
        await keys(pilot, "3", "left_square_bracket", "colon", *"termin")
        await pilot.pause(0.4)
        await keys(pilot, "enter")
        await pilot.pause(0.2)
        assert isinstance(app.screen, Dialog)


async def test_copy_takes_the_ssh_command_and_keeps_it_in_a_file(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "y")
        assert app.clipboard == "ssh -p 2222 ubuntu@192.0.2.7"
        assert (tmp_path / "clip.txt").read_text() == app.clipboard + "\n"
        await keys(pilot, "j", "j", "3", "tab", "y")
        assert "95% Wilson" in app.clipboard


async def test_shell_suspends_the_app(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app, called = make_app(session_id="s-amber"), []
    monkeypatch.setattr(app, "suspend", nullcontext)
    monkeypatch.setattr(subprocess, "call", called.append)
    async with app.run_test(size=WIDE) as pilot:
        await keys(pilot, "s")
        assert called == [["ssh", "-p", "2222", "ubuntu@192.0.2.7"]]


async def test_freeze_holds_the_display_and_says_so(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "F")
        more = [(1, worlds.result(900 + i, "rates", True)) for i in range(10)]
        world.write("s-amber", "s-amber-0", "journal.jsonl", more)
        await pilot.pause(0.3)
        assert "FROZEN" in text(app, "#status")
        assert "818 / 1,319" in text(app, "#header")
        await keys(pilot, "F")
        await pilot.pause(0.3)
        assert "828 / 1,319" in text(app, "#header")


async def test_a_still_fleet_is_not_redrawn(make_app: MakeApp) -> None:
    for mode in SCREEN_KEYS:
        app = make_app(session_id="s-amber")
        async with app.run_test(size=WIDE) as pilot:
            await settled(pilot)
            await keys(pilot, mode)
            await pilot.pause(0.3)
            widgets = [w for w in screen_of(app).query("*") if isinstance(w, Pane | RowTable | LogView)]
            before = [w.redrawn for w in widgets]
            for _ in range(5):
                app.refresh_board()
            await pilot.pause(0.3)
            assert [w.redrawn for w in widgets] == before


async def test_one_result_redraws_few_rows(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        panes = {w.id: w.redrawn for w in screen_of(app).query(Pane)}
        world.write("s-amber", "s-amber-0", "journal.jsonl", [(0, worlds.result(901, "rates", True))])
        app.refresh_board()
        await pilot.pause()
        grown = {w.id: w.redrawn - panes[w.id] for w in screen_of(app).query(Pane)}
        assert 0 < grown["header"] <= 1
        assert grown["chart"] <= 4
        assert grown["tail"] == grown["tabs"] == grown["keybar"] == grown["status"] == 0


async def test_stale_values_are_marked(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app(session_id="s-amber")
    world.clock.now += 25
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert "▲ silent" in text(app, "#header")
        assert "old" in text(app, "#header")
        assert "? 30 s old" in text(app, "#instance")


async def test_catching_up_is_said_and_ends(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpusess.tui.app.BUDGET", 64 << 10)
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        assert app.fleet.catching_up
        app.tick()
        assert "catching up" in text(app, "#status")
        await pilot.pause(0.8)
        assert not app.fleet.catching_up
        assert "818 / 1,319" in text(app, "#header")


async def test_resizing_in_the_middle(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        for size in ((80, 24), (50, 12), (200, 60), (61, 16), (30, 5), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.05)
            for mode in (*SCREEN_KEYS, "3"):
                await keys(pilot, mode)
        assert "818 / 1,319" in text(app, "#header")


async def test_a_tiny_terminal_says_the_essential(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(50, 12)) as pilot:
        await settled(pilot)
        assert not screen_of(app).query_one("#body").display or not screen_of(app).query_one("#body").region
        tiny = text(app, "#tiny")
        assert "$5.41/h" in tiny
        assert "● 1" in tiny
        assert "frost-egret: failed and still bills" in tiny


async def test_zoom_and_tab_reach_every_pane(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, "z")
        seen = set()
        for _ in range(7):
            await keys(pilot, "tab")
            await pilot.pause()
            zoomed = screen_of(app).zoomed
            assert zoomed is not None
            assert zoomed.size.height > 15
            seen.add(zoomed.id)
        assert seen >= {"chart", "now", "categories", "instance", "tail"}
        await keys(pilot, "escape")
        assert screen_of(app).zoomed is None
        assert app.current_mode == "run"


async def test_logs_follow_search_and_filter(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, "6")
        view = screen_of(app).query_one(LogView)
        assert "FOLLOW" in text(app, "#loghead")
        assert "batch 70" in view.text
        await keys(pilot, "g")
        assert "batch 70" not in view.text
        world.log("s-amber", "s-amber-0", "worker.log", [(1, "ERROR", f"boom {i}") for i in range(1204)])
        await pilot.pause(0.4)
        assert "+1,204 lines" in text(app, "#loghead")
        await keys(pilot, "G")
        await pilot.pause(0.3)
        assert "FOLLOW" in text(app, "#loghead")
        await keys(pilot, "slash", *"preempted", "enter")
        assert view.match is not None
        assert "KV cache" in view.match.text
        await keys(pilot, "escape", "l", "l", "l")
        assert {x.level for x in view._lines} == {"ERROR"}
        await keys(pilot, "escape", "o")
        assert {x.source for x in view._lines} == {"local"}


HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]not markup[/] \u202eabc [/nothing]"


async def test_hostile_text_is_drawn_as_text(make_app: MakeApp, world: worlds.World) -> None:
    world.log("s-amber", "s-amber-0", "worker.log", [(0, "ERROR", HOSTILE)])
    world.store.update("s-amber", name=f"evil {HOSTILE}")
    world.store.update("s-frost", error=HOSTILE, hint=HOSTILE)
    world.write(
        "s-amber",
        "s-amber-0",
        "journal.jsonl",
        [(0, {"kind": "check", "name": HOSTILE, "status": "fail", "message": HOSTILE})],
    )
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        for key in (*SCREEN_KEYS, "x", "escape", "q", "escape", "y"):
            await keys(pilot, key)
            await pilot.pause(0.05)
            svg = app.export_screenshot()
            assert "\x1b" not in svg
            assert "\u202e" not in svg
        await keys(pilot, "6")
        assert "[red]not markup[/]" in text(app, "#log")
        await keys(pilot, "3")
        assert "[red]not markup[/]" in text(app, "#checks")


class TableApp(App[None]):
    """A table and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.theme = DARK.name
        self.asked: list[int] = []

    @property
    def inks(self) -> Inks:
        return Inks(self.theme_variables, ansi=False, ascii=False)

    def compose(self) -> ComposeResult:
        yield RowTable([Column("ROW", 12, 12, 0)])

    def row(self, i: int) -> list[Line]:
        self.asked.append(i)
        return [[(f"row {i}", "")]]


async def test_a_million_rows_page_down() -> None:
    app = TableApp()
    async with app.run_test(size=(40, 20)) as pilot:
        table = app.query_one(RowTable)
        table.focus()
        table.set_rows(1_000_000, app.row)
        await pilot.pause()
        await keys(pilot, "G")
        assert table.cursor == 999_999
        assert "row 999999" in table.text
        await keys(pilot, "g", "ctrl+d", "ctrl+d", "ctrl+d")
        assert table.cursor == 27
        assert "row 27" in table.text
        assert len(app.asked) < 1000


async def test_themes_change_in_place(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        for theme in ("gpusess-light", "gpusess-ansi", "gpusess-dark"):
            await keys(pilot, "T")
            await pilot.pause(0.05)
            assert app.theme == theme


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_ascii_draws_nothing_else(
    make_app: MakeApp, world: worlds.World, size: tuple[int, int]
) -> None:
    worlds.unknown(world)
    world.log("s-amber", "s-amber-0", "worker.log", [(0, "INFO", "naïve 漢字 ⠿ \u202e → 64 °C")])
    app = make_app(session_id="s-amber", ascii=True)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for mode in (*SCREEN_KEYS, "x", "escape", "q", "escape", "question_mark", "escape"):
            await keys(pilot, mode)
            await app.workers.wait_for_complete()
            await pilot.pause(0.05)
            for strip in app.screen._compositor.render_strips():
                shown = "".join(segment.text for segment in strip)
                assert shown.isascii(), (mode, shown)


def test_lines_are_plain(make_app: MakeApp) -> None:
    assert plain([("[b]x[/b]", "")]) == "[b]x[/b]"
