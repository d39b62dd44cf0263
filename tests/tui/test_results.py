"""The Results screen driven by keys: rows, filters, the result in full, another run beside it, export; and what
it looks like."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from textual.message import Message
from textual.pilot import Pilot

from gpusess import paths
from gpusess.analysis import result_building
from gpusess.tui.app import CockpitApp
from gpusess.tui.panes.result_detail import TEXT_LIMIT, detail_lines, marked
from gpusess.tui.screens.choose_run import ChooseRun
from gpusess.tui.screens.results import ResultsScreen
from gpusess.tui.spans import plain, width
from gpusess.tui.widgets.filter_line import FilterLine
from gpusess.tui.widgets.name_line import NameLine
from gpusess.tui.widgets.row_table import RowTable
from gpusess.tui.widgets.text_view import TextView, wrap
from remote_agent.journal import encode

from . import results_world
from . import world as worlds
from .conftest import MakeApp
from .test_app import keys, screen_of, settled, text

SnapCompare = Any
SMALL, WIDE, LARGE = (80, 24), (120, 40), (200, 60)


@pytest.fixture
def app(make_app: MakeApp, world: worlds.World) -> CockpitApp:
    results_world.build(world)
    return make_app(session_id="s-heron")


def results(app: CockpitApp) -> ResultsScreen:
    screen = screen_of(app)
    assert isinstance(screen, ResultsScreen)
    return screen


def _known(screen: ResultsScreen) -> bool:
    """Whether the detail shows what other runs say of the sample."""
    others = screen._others
    return not (screen.view and screen.view.shown) or (others is not None and others[0] == screen._row)


async def still(pilot: Pilot[Any]) -> None:
    """Until all is read, searched, and known of other runs."""
    await settled(pilot)
    app = pilot.app
    assert isinstance(app, CockpitApp)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        await app.workers.wait_for_complete()
        app.refresh_board()
        await pilot.pause(0.02)
        screen = app.base_screen()
        if not isinstance(screen, ResultsScreen) or screen.view is None:
            if not isinstance(screen, ResultsScreen) or screen.opening != "opening…":
                return
        elif not screen._pumping and not screen.pairing_word and _known(screen):
            return
    raise AssertionError("the results never came to rest")


async def typed(pilot: Pilot[Any], text: str) -> None:
    """The last word by the keys, what is before it at once."""
    names = {
        " ": "space",
        '"': "quotation_mark",
        ">": "greater_than_sign",
        ":": "colon",
        "!": "exclamation_mark",
    }
    assert isinstance(pilot.app, CockpitApp)
    line = results(pilot.app).query_one(FilterLine)
    before, space, word = text.rpartition(" ")
    line.open()
    line.put(before + space)
    await keys(pilot, *(names.get(char, char) for char in word))
    await still(pilot)


async def open_results(pilot: Pilot[Any]) -> ResultsScreen:
    await settled(pilot)
    await keys(pilot, "5")
    await still(pilot)
    assert isinstance(pilot.app, CockpitApp)
    return results(pilot.app)


async def test_rows_counts_and_the_first_result_in_full(app: CockpitApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await open_results(pilot)
        assert "a all 60   o right 36 60.0%   w wrong 19 31.7%   n no answer 4" in text(app, "#resulthead")
        assert "disagree 5" in text(app, "#resulthead")
        first = text(app, "#rows").splitlines()[1]
        assert "✗ wrong" in first
        assert "gsm8k/test/0000" in first
        assert "1800" in first
        whole = text(app, "#result")
        for words in ("expected 1800   got 2700  by hashes", "rates · 90 tokens out, 140 in · stop · 2.1 s",
                      "A printer makes 20 pages", "#### 2700", "hashes       2700  decides",
                      "ibis-moor"):  # fmt: skip
            assert words in whole


async def test_the_detail_follows_the_cursor_and_is_told_by_messages(app: CockpitApp) -> None:
    seen: list[Message] = []
    async with app.run_test(size=WIDE, message_hook=seen.append) as pilot:
        screen = await open_results(pilot)
        seen.clear()
        await keys(pilot, "j", "j", "j", "j")
        await still(pilot)
        moved = [m.row for m in seen if isinstance(m, RowTable.Moved)]
        assert list(dict.fromkeys(moved)) == [1, 2, 3, 4]
        assert screen._row == 4
        assert "another rule reads otherwise" in text(app, "#result")
        assert "last number  1080  otherwise" in text(app, "#result")
        await keys(pilot, "J")
        await still(pilot)
        whole = " ".join(text(app, "#result").split())
        assert "got nothing (truncated)" in whole
        assert "cut off by the token limit" in whole
        await keys(pilot, "G")
        await still(pilot)
        assert "device-side assert" in text(app, "#result")
        assert "▲ failed" in text(app, "#rows")


async def test_a_filter_narrows_and_the_cursor_stays_on_its_row(app: CockpitApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        screen = await open_results(pilot)
        await keys(pilot, *"jjjjjj")
        await typed(pilot, 'wrong tok>100 !"per hour" cat:rates')
        assert screen.view is not None
        # Only the hostile answer is wrong, long, of rates, and does not speak of an hour.
        assert [screen.view.row(screen.view.row_at(i)).sample for i in range(screen.view.shown)] == [
            "gsm8k/test/0003"
        ]
        await keys(pilot, "enter", "escape")
        await still(pilot)
        assert screen.view.shown == 60
        assert screen._row == 6, "the row that was looked at before"
        assert not screen.query_one(FilterLine).display


async def test_chips_change_the_verdict_and_keep_the_rest(app: CockpitApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        screen = await open_results(pilot)
        assert screen.view is not None
        await typed(pilot, "cat:rates")
        await keys(pilot, "enter")
        shown = []
        for key in "wona":
            await keys(pilot, key)
            await still(pilot)
            shown.append((screen.view.text, screen.view.shown))
        assert shown == [
            ("wrong cat:rates", 19), ("right cat:rates", 0), ("no-answer cat:rates", 1), ("cat:rates", 21),
        ]  # fmt: skip


BAD = {
    "tok>many": "character 5: tok is a number, and 'many' is none",
    "wrong nope:1": "character 7: there is no field 'nope'; fields: cat, rule",
    'right "per': "character 7: the quote is not closed",
    "lost": "character 1: 'lost' takes another run beside this one: d chooses it",
    "cat>3": "character 1: cat is text",
    "wrong !": "character 8: after ! something is missing",
}


async def test_a_bad_filter_says_what_is_wrong_and_where(app: CockpitApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        screen = await open_results(pilot)
        assert screen.view is not None
        for words, said in BAD.items():
            screen.query_one(FilterLine).put(words)
            await still(pilot)
            assert said in text(app, "#resulthead")
        screen.query_one(FilterLine).put("")
        await still(pilot)
        assert "▲" not in text(app, "#resulthead")
        assert screen.view.shown == 60


async def test_another_run_beside_this_one(app: CockpitApp) -> None:
    async with app.run_test(size=LARGE) as pilot:
        screen = await open_results(pilot)
        await keys(pilot, "d")
        assert isinstance(app.screen, ChooseRun)
        await keys(pilot, "enter")
        await still(pilot)
        head = text(app, "#resulthead")
        assert "this 61.0%  ibis-moor 62.7% · −1.7 points" in head
        assert "gained 17  lost 18  of 59 · McNemar p = 1.000, not told apart" in head
        assert "OTHER" in text(app, "#rows")
        assert screen.view is not None
        counts = {}
        for word in ("flipped", "lost", "gained"):
            await keys(pilot, "f")
            await still(pilot)
            assert screen.view.text == word
            counts[word] = screen.view.shown
        assert counts == {"flipped": 35, "lost": 18, "gained": 17}
        assert "ibis-moor" in str(screen.query_one("#otherresult").border_title)
        assert "✗ wrong" in text(app, "#otherresult")
        await keys(pilot, "f")
        await still(pilot)
        assert screen.view.shown == 60
        await keys(pilot, "escape")
        await still(pilot)
        assert screen.view.pairing is None
        assert "OTHER" not in text(app, "#rows")


async def test_the_run_that_is_shown_is_chosen(app: CockpitApp, world: worlds.World) -> None:
    """A second run in the session: it is shown, as the last that began, until another one is chosen."""
    world.store.add_run("s-heron", "s-heron-1", "again", spec="")
    world.store.update_run("s-heron-1", status="complete", started=1.0)
    records = [(9.0, results_world.planned(20, "Qwen/Qwen2.5-7B-Instruct"))]
    world.write(
        "s-heron",
        "s-heron-1",
        "journal.jsonl",
        [*records, *((8.0, results_world.result(i, 3)) for i in range(20))],
    )
    async with app.run_test(size=LARGE) as pilot:
        screen = await open_results(pilot)
        assert "again  20" in str(screen.table.border_title)
        await keys(pilot, "v")
        assert isinstance(app.screen, ChooseRun)
        labels = [run.label for run in app.screen._runs]
        assert labels[:2] == ["heron-vale/gsm8k-8shot", "heron-vale/again"]
        assert "▌ heron-vale/again" in plain(app.screen._pane.content[1])
        await keys(pilot, "k", "enter")
        await still(pilot)
        assert "gsm8k-8shot  60" in str(screen.table.border_title)
        assert "gsm8k-8shot" in text(app, "#tabs")
        await keys(pilot, "d")
        assert isinstance(app.screen, ChooseRun)
        assert "heron-vale/again" in plain(app.screen._pane.content[0])
        await keys(pilot, "enter")
        await still(pilot)
        assert "of 20" in text(app, "#resulthead"), "the samples that both runs have"
        await keys(pilot, "3", "5")
        await still(pilot)
        assert "gsm8k-8shot  60" in str(screen.table.border_title), "it stays chosen"
        await keys(pilot, "v", *"j" * labels.index("ibis-moor"), "enter")
        await still(pilot)
        assert app.selected == "s-ibis", "of another session: every screen follows"
        assert screen.view is not None
        assert screen.view.pairing is None


async def test_without_another_run_it_says_so(make_app: MakeApp, world: worlds.World) -> None:
    world.store.update_run("s-amber-0", status="pending")
    app = make_app(session_id="s-gale")
    async with app.run_test(size=WIDE) as pilot:
        await open_results(pilot)
        await keys(pilot, "d")
        assert not isinstance(app.screen, ChooseRun)


async def test_export_names_the_file_and_overwrites_none(app: CockpitApp, tmp_path: Path) -> None:
    target = tmp_path / "wrong.jsonl"
    async with app.run_test(size=WIDE) as pilot:
        screen = await open_results(pilot)
        await keys(pilot, "w")
        await still(pilot)
        await keys(pilot, "e")
        line = screen.query_one(NameLine)
        assert line.value == "gsm8k-8shot-results.jsonl"
        line.value = str(target)
        await keys(pilot, "enter")
        await still(pilot)
        records = [json.loads(line) for line in target.read_text().splitlines()]
        assert [r["verdict"] for r in records] == ["wrong"] * 19
        assert not line.display
        before = target.read_bytes()
        await keys(pilot, "e")
        line.value = str(target)
        await keys(pilot, "enter")
        await still(pilot)
        assert target.read_bytes() == before
        assert line.display, "another name can be given"
        await keys(pilot, "escape")
        assert not line.display


async def test_copying_takes_the_result(app: CockpitApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await open_results(pilot)
        await keys(pilot, "y")
        clip = (paths.home() / "clip.txt").read_text()
        assert "A printer makes 20 pages" in clip
        assert "#### 2700" in clip


async def test_at_80x24_enter_opens_the_result_alone(app: CockpitApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        screen = await open_results(pilot)
        assert not screen.query_one("#result").display
        await keys(pilot, "j", "enter")
        await still(pilot)
        assert screen.query_one("#result").region.width >= 78
        assert "gsm8k/test/0001" in str(screen.query_one("#result").border_title)
        await keys(pilot, "escape")
        await still(pilot)
        assert screen.focused is screen.table


async def test_it_grows_while_the_run_goes_on(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        screen = await open_results(pilot)
        assert screen.view is not None
        assert screen.view.shown == 818
        await keys(pilot, *"jjj")
        top = text(app, "#rows").splitlines()[:5]
        more = [(1.0, worlds.result(i, "rates", False)) for i in range(818, 830)]
        world.write("s-amber", "s-amber-0", "journal.jsonl", more)
        await still(pilot)
        assert screen.view.shown == 830
        assert screen._row == 3
        assert text(app, "#rows").splitlines()[:5] == top
        await keys(pilot, "F")
        world.write("s-amber", "s-amber-0", "journal.jsonl", [(1.0, worlds.result(830, "rates", True))])
        app.refresh_board()
        await pilot.pause()
        assert screen.view.shown == 830, "a frozen display stands still"


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ("s-dusk", "nothing of this run has come home yet"),
        ("s-frost", "nothing of this run has come home yet"),
    ],
)
async def test_states_without_results(make_app: MakeApp, session: str, said: str) -> None:
    app = make_app(session_id=session)
    async with app.run_test(size=SMALL) as pilot:
        await open_results(pilot)
        assert said in text(app, "#rows")
        for key in ("j", "enter", "w", "d", "f", "e", "y", "J", "slash", "x", "escape", "escape"):
            await keys(pilot, key)


async def test_damage_is_said_and_what_stands_before_it_is_shown(
    app: CockpitApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_building, "FRAME_BYTES", 5000)
    journal = paths.run_dir("s-heron", "s-heron-0") / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[21] = lines[21].replace(b"printer", b"PRINTER")
    journal.write_bytes(b"".join(lines))
    async with app.run_test(size=WIDE) as pilot:
        screen = await open_results(pilot)
        assert screen.view is not None
        assert screen.view.shown == 20
        assert "line 22: checksum does not match" in text(app, "#resulthead")


async def test_a_switch_of_session_begins_anew(app: CockpitApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        screen = await open_results(pilot)
        await keys(pilot, "w")
        await still(pilot)
        app.look_at("s-gale")
        await still(pilot)
        assert screen.view is not None
        assert (screen.view.shown, screen.view.text) == (660, "")
        assert "q0" in text(app, "#rows")


async def test_a_page_down_of_a_long_run_draws_quickly(app: CockpitApp) -> None:
    folder = paths.run_dir("s-heron", "s-heron-0")
    with (folder / "journal.jsonl").open("ab") as file:
        for i in range(5000):
            file.write(encode(results_world.result(i) | {"sample": f"more{i}"}, 62 + i, 1.0))
    async with app.run_test(size=WIDE) as pilot:
        screen = await open_results(pilot)
        await still(pilot)
        begin = time.process_time()
        for _ in range(10):
            screen.table.action_page(1)
        assert time.process_time() - begin < 1.0
        assert screen.view is not None
        assert screen.view.shown == 5060


# --- the lines -------------------------------------------------------------------------------------------


def test_the_span_is_marked_and_hostile_text_is_harmless() -> None:
    record = results_world.result(3)
    lines = detail_lines(record, "hashes", (), 60)
    assert all(width(line) <= 60 for line in lines)
    shown = "\n".join(map(plain, lines))
    assert "[bold red]not markup[/]" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\ud83d", "\x00"} & set(shown)
    assert [text for line in lines for text, ink in line if "on-match" in ink] == ["7"]


def test_a_megabyte_is_cut_but_not_what_was_read() -> None:
    text = "x" * 1_000_000 + "#### 42" + "y" * 1_000_000
    spans = marked(text, (1_000_005, 1_000_007))
    assert [t for t, ink in spans if ink] == ["42"]
    assert sum(len(t) for t, _ in spans) < 3 * TEXT_LIMIT
    assert "characters …" in spans[0][0]
    begin = time.process_time()
    assert len(wrap(spans, 80)) < 1000
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize("span", [None, (5, 3), (-1, 2), (0, 99)])
def test_a_span_that_makes_no_sense_marks_nothing(span: tuple[int, int] | None) -> None:
    assert marked("so 1", span) == [("so 1", "")]


def test_wrapping_keeps_every_word_and_fits() -> None:
    text = "Each cycle takes 45 + 15 = 60 minutes.\n\n世界世界世界世界 end\n" + "a" * 50
    for cells in (7, 20, 80):
        lines = wrap([(text[:10], "dim"), (text[10:], "")], cells)
        assert all(width(line) <= cells for line in lines)
        assert "".join(map(plain, lines)).replace(" ", "") == text.replace(" ", "").replace("\n", "")


async def test_a_text_view_scrolls_and_copies_all(app: CockpitApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        screen = await open_results(pilot)
        await keys(pilot, "enter")
        view = screen.query_one("#result", TextView)
        view.put("long", lambda _: [[(f"line {i}", "")] for i in range(100)])
        await keys(pilot, "G")
        assert view.scroll_offset.y > 60
        await keys(pilot, "g", "j", "ctrl+d")
        assert 5 < view.scroll_offset.y < 20
        assert view.text.count("line") == 100


# --- pictures --------------------------------------------------------------------------------------------


def _press(*names: str) -> Any:
    async def run(pilot: Pilot[Any]) -> None:
        await open_results(pilot)
        for name in names:
            await keys(pilot, name)
            await still(pilot)

    return run


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
def test_results(snap_compare: SnapCompare, app: CockpitApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=_press("j", "j", "j", "j"))


def test_flips_large(snap_compare: SnapCompare, app: CockpitApp) -> None:
    assert snap_compare(app, terminal_size=LARGE, run_before=_press("d", "enter", "f", "j"))


@pytest.mark.parametrize("settings", [{"theme": "light"}, {"ascii": True}], ids=["light", "ascii"])
def test_results_in_other_looks(
    snap_compare: SnapCompare, make_app: MakeApp, world: worlds.World, settings: dict[str, Any]
) -> None:
    results_world.build(world)
    app = make_app(session_id="s-heron", **settings)
    assert snap_compare(app, terminal_size=WIDE, run_before=_press("w", "j"))


def test_result_alone(snap_compare: SnapCompare, app: CockpitApp) -> None:
    assert snap_compare(app, terminal_size=SMALL, run_before=_press("j", "j", "j", "enter"))
