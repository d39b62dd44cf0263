"""Sending only what has changed: whatever changes on the screen, the terminal shows in the end what a whole
painting would, and gets few bytes for it."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import Compositor, LayoutUpdate
from textual._context import visible_screen_stack
from textual.app import App
from textual.geometry import Region, Size
from textual.pilot import Pilot
from textual.strip import Strip

from gpusess.tui.app import CockpitApp
from gpusess.tui.painting import TightCompositor, TightUpdate
from gpusess.tui.spans import difference, fit, width
from gpusess.tui.widgets.inked import Inked

from . import results_world
from . import world as worlds
from .conftest import MakeApp

WORDS = st.sampled_from(["", "a", "ab", "acc 66.4", "日本", "é", "──", " ", "x" * 9])
LINES = st.lists(st.tuples(WORDS, st.sampled_from(["", "dim", "ok"])), max_size=6)


def cells_of(line: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Each cell with its ink; the second cell of a wide character is empty."""
    found = [
        (char if i == 0 else "", ink)
        for text, ink in fit(line, count)
        for char in text
        for i in range(cell_len(char))
    ]
    return found[:count]


@given(LINES, LINES, st.integers(1, 30))
def test_outside_the_difference_two_lines_are_alike(
    was: list[tuple[str, str]], now: list[tuple[str, str]], count: int
) -> None:
    x, wide = difference(was, now, count)
    assert x >= 0
    assert wide >= 0
    if width(was) > count or width(now) > count:
        return  # cut with an ellipsis: panes make lines that fit
    before, after = cells_of(was, count), cells_of(now, count)
    kept = [i for i in range(count) if not x <= i < x + wide]
    assert [before[i] for i in kept] == [after[i] for i in kept]


def test_a_line_with_control_characters_is_sent_whole() -> None:
    assert difference([("a\tb", ""), ("c", "")], [("a\tb", ""), ("d", "")], 20) == (0, 20)


class Grid:
    """What a terminal shows: text is put where the cursor is, each cell with the colours that hold there."""

    def __init__(self, columns: int, rows: int) -> None:
        self.rows = [[(" ", "")] * columns for _ in range(rows)]

    def take(self, sent: str) -> None:
        x = y = 0
        ink = ""
        for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[^\x1b]+", sent):
            if part.endswith("H") and part.startswith("\x1b"):
                y, x = (int(n) - 1 for n in part[2:-1].split(";"))
            elif part.startswith("\x1b"):
                ink = part if part != "\x1b[0m" else ""
            else:
                for char in part:
                    if char == "\n":
                        x, y = 0, y + 1
                        continue
                    self.rows[y][x] = (char, ink)
                    for beside in range(1, cell_len(char)):
                        self.rows[y][x + beside] = ("", ink)
                    x += cell_len(char)


class Terminal:
    """Takes what an app sends; a resized one begins with nothing, as the app then paints all of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.grid = Grid(0, 0)
        self.tight: list[int] = []
        """Characters of each update of changes alone."""
        real = CockpitApp._display

        def display(app: CockpitApp, screen: Any, update: Any) -> None:
            if update is not None and hasattr(update, "render_segments"):
                columns, rows = app.size
                if (len(self.grid.rows), len((self.grid.rows or [[]])[0])) != (rows, columns):
                    self.grid = Grid(columns, rows)
                sent = update.render_segments(_console(columns))
                self.grid.take(sent)
                if isinstance(update, TightUpdate):
                    self.tight.append(len(sent))
            real(app, screen, update)

        monkeypatch.setattr(CockpitApp, "_display", display)

    async def shows_what_is_meant(self, pilot: Pilot[Any]) -> None:
        await pilot.pause()
        await pilot.pause(0.05)
        meant = drawn_by_textual(pilot.app)
        for y, (row, other) in enumerate(zip(self.grid.rows, meant.rows, strict=True)):
            assert row == other, f"line {y}"


def drawn_by_textual(app: App[Any]) -> Grid:
    """The whole screen, drawn anew by Textual's own compositor and its own way to draw lines."""
    screen, grid = app.screen, Grid(*app.size)
    compositor = screen._compositor
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(Inked, "render_lines")
        for widget in compositor.visible_widgets:
            widget._styles_cache.clear()
        visible_screen_stack.set(app._background_screens)
        chops = Compositor._render_chops(compositor, app.size.region, lambda _: True)
        for widget in compositor.visible_widgets:
            widget._styles_cache.clear()
    grid.take(LayoutUpdate([chop.values() for chop in chops], app.size.region).render_segments(_console(1)))
    return grid


def _console(columns: int) -> Console:
    return Console(color_system="truecolor", width=columns)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_what_the_terminal_shows_is_what_was_meant(
    make_app: MakeApp, world: worlds.World, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    terminal = Terminal(monkeypatch)
    app = make_app(session_id="s-amber")
    async with app.run_test(size=size) as pilot:
        await terminal.shows_what_is_meant(pilot)
        for number in range(830, 838):
            answer = worlds.result(number, "rates", number % 3 > 0)
            world.write("s-amber", "s-amber-0", "journal.jsonl", [(0, answer)])
            world.clock.now += 1
            app.refresh_board()
            await pilot.press({832: "b", 833: "tab", 834: "1", 836: "3"}.get(number, "j"))
            await terminal.shows_what_is_meant(pilot)
    assert len(terminal.tight) > 5
    assert min(terminal.tight) < 1500


KEYS = [*"1235678jkgGzwraTb", "ctrl+d", "ctrl+u", "tab", "escape", "slash", "question_mark", "colon", "space"]


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))])
async def test_it_does_so_whatever_is_done(
    make_app: MakeApp, world: worlds.World, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Screens, zooms, filters, dialogs over a dimmed screen, toasts, other themes, other sizes, data that comes:
    each cell is what Textual makes of it when it draws all of it."""
    chance = random.Random(seed)
    results_world.build(world)
    terminal = Terminal(monkeypatch)
    app = make_app(session_id="s-heron", ascii=seed == 2)
    async with app.run_test(size=(120, 40)) as pilot:
        for step in range(40):
            what = chance.random()
            if what < 0.7:
                await pilot.press(chance.choice(KEYS))
            elif what < 0.8:
                answer = worlds.result(900 + step, "rates", step % 3 > 0)
                world.write("s-amber", "s-amber-0", "journal.jsonl", [(0, answer)])
            elif what < 0.85:
                app.say(f"toast {step}")
            elif what < 0.9:
                await pilot.resize_terminal(*chance.choice([(120, 40), (80, 24), (70, 17), (200, 60)]))
            world.clock.now += chance.choice([0, 0, 1, 7])
            app.refresh_board()
            await terminal.shows_what_is_meant(pilot)


class Drawn:
    """In the place of a widget: each of its cells says whose it is and where."""

    def __init__(self, name: str) -> None:
        self.name = name

    def render_lines(self, crop: Region) -> list[Strip]:
        return [
            Strip([Segment(self.name, Style.from_meta({"at": (x, y)})) for x in range(crop.x, crop.right)])
            for y in crop.line_range
        ]


WIDE, HIGH = 24, 8
REGIONS = st.builds(
    Region, st.integers(-4, WIDE), st.integers(-3, HIGH), st.integers(1, WIDE), st.integers(1, HIGH)
)


@given(st.lists(st.tuples(REGIONS, REGIONS), max_size=9), st.lists(REGIONS, min_size=1, max_size=6))
def test_each_cell_is_of_the_widget_that_textual_draws_there(
    placed: list[tuple[Region, Region]], changed: list[Region]
) -> None:
    """Widgets over each other in any way, cut off by any clip, and any regions that have changed."""
    screen = Region(0, 0, WIDE, HIGH)
    widgets: dict[Any, tuple[Region, Region]] = {
        Drawn(chr(97 + i)): (region, clip.intersection(screen))
        for i, (region, clip) in enumerate(placed)
        if region.overlaps(clip.intersection(screen))
    }
    widgets[Drawn("~")] = (screen, screen)
    found: list[dict[tuple[int, int], tuple[str, Any]]] = []
    for kind in (TightCompositor, Compositor):
        compositor = kind()
        compositor.size = Size(WIDE, HIGH)
        compositor._visible_widgets = widgets
        compositor._dirty_regions = {region.intersection(screen) for region in changed} - {Region()}
        update = compositor.render_partial_update()
        found.append(_cells_of(update) if update else {})
    assert found[0] == found[1]


def _cells_of(update: Any) -> dict[tuple[int, int], tuple[str, Any]]:
    """Each cell that has changed, and what it is now."""
    cells: dict[tuple[int, int], tuple[str, Any]] = {}
    for y, x1, x2 in update.spans:
        for x, strip in update.chops[y].items():
            for at, segment in enumerate(strip or (), x):
                if x1 <= at < x2:
                    cells[at, y] = (segment.text, segment.style.meta["at"])
        assert all((x, y) in cells for x in range(x1, x2))
    return cells
