"""Sending only what has changed: whatever changes on the screen, the terminal shows in the end what a whole
painting would, and gets few bytes for it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from textual.pilot import Pilot

from gpusess.tui.app import CockpitApp
from gpusess.tui.painting import TightUpdate
from gpusess.tui.spans import difference, fit, width

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
    """What a terminal shows: text is put where the cursor is; colours are left out."""

    def __init__(self, columns: int, rows: int) -> None:
        self.rows = [[" "] * columns for _ in range(rows)]

    def take(self, sent: str) -> None:
        x = y = 0
        for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[^\x1b]+", sent):
            if part.endswith("H") and part.startswith("\x1b"):
                y, x = (int(n) - 1 for n in part[2:-1].split(";"))
            elif not part.startswith("\x1b"):
                for char in part:
                    if char == "\n":
                        x, y = 0, y + 1
                        continue
                    self.rows[y][x] = char
                    for beside in range(1, cell_len(char)):
                        self.rows[y][x + beside] = ""
                    x += cell_len(char)

    @property
    def text(self) -> list[str]:
        return ["".join(row) for row in self.rows]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_what_the_terminal_shows_is_what_was_meant(
    make_app: MakeApp, world: worlds.World, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    grid, sizes = Grid(*size), []
    real = CockpitApp._display

    def display(app: CockpitApp, screen: Any, update: Any) -> None:
        if update is not None and hasattr(update, "render_segments"):
            sent = update.render_segments(Console(color_system="truecolor", width=size[0]))
            grid.take(sent)
            sizes.append((isinstance(update, TightUpdate), len(sent)))
        real(app, screen, update)

    monkeypatch.setattr(CockpitApp, "_display", display)
    app = make_app(session_id="s-amber")
    async with app.run_test(size=size) as pilot:
        await _same(pilot, grid)
        for number in range(830, 838):
            answer = worlds.result(number, "rates", number % 3 > 0)
            world.write("s-amber", "s-amber-0", "journal.jsonl", [(0, answer)])
            world.clock.now += 1
            app.refresh_board()
            await pilot.press({832: "b", 833: "tab", 834: "1", 836: "3"}.get(number, "j"))
            await _same(pilot, grid)
    partial = [bytes_ for tight, bytes_ in sizes if tight]
    assert len(partial) > 5
    assert min(partial) < 1500


async def _same(pilot: Pilot[Any], grid: Grid) -> None:
    await pilot.pause()
    await pilot.pause(0.05)
    whole = [strip.text for strip in pilot.app.screen._compositor.render_strips()]
    assert [row.rstrip() for row in grid.text] == [row.rstrip() for row in whole]
