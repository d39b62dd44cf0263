"""Lines of text that scroll: what a result says, wrapped to the width. It draws the visible lines only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.cells import cell_len, get_character_cell_size
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView

from gpusess.tui.keys import bindings
from gpusess.tui.spans import Line, Span, difference, plain
from gpusess.tui.widgets.inked import Inked

Maker = Callable[[int], list[Line]]
"""The lines for so many cells."""


class TextView(ScrollView, Inked, can_focus=True):
    """Takes a function that makes its lines, and calls it again where the width has changed."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[Line] = []
        self._make: Maker = lambda _: []
        self._shown: object = None

    @property
    def text(self) -> str:
        """All of it, as plain text."""
        return "\n".join(plain(line).rstrip() for line in self._lines).rstrip()

    def put(self, key: object, make: Maker, top: bool = True) -> None:
        """Show other lines, unless the key is that of those which are shown. top: begin at the first."""
        if key == self._shown:
            return
        self._shown, self._make = key, make
        self._lay_out()
        if top:
            self.scroll_to(y=0, animate=False, immediate=True)

    def forget(self) -> None:
        """Draw every line anew: the theme has changed."""
        self._lay_out()
        self.refresh()

    def action_move(self, step: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + step, animate=False, immediate=True)

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.size.height // 2))

    def action_top(self) -> None:
        self.scroll_to(y=0, animate=False, immediate=True)

    def action_bottom(self) -> None:
        self.scroll_to(y=self.virtual_size.height, animate=False, immediate=True)

    def on_resize(self) -> None:
        self._lay_out()
        self.refresh()

    def line_at(self, y: int) -> tuple[Line, str]:
        return self._at(y + self.scroll_offset.y), ""

    def _lay_out(self) -> None:
        """Make the lines; those that look different are drawn again."""
        if not self.size.width:
            return
        top = self.scroll_offset.y
        before = [self._at(top + y) for y in range(self.size.height)]
        self._lines = self._make(self.size.width)
        # Never less than the room there is: a size that changes lays the whole screen out anew.
        self.virtual_size = Size(0, max(len(self._lines), self.size.height))
        after = [self._at(top + y) for y in range(self.size.height)]
        changed = [
            Region(x, y, wide, 1)
            for y, (was, now) in enumerate(zip(before, after, strict=True))
            if was != now
            for x, wide in (difference(was, now, self.size.width),)
        ]
        if changed:
            self.refresh(*changed)

    def _at(self, row: int) -> Line:
        return self._lines[row] if row < len(self._lines) else []


def wrap(spans: Iterable[Span], cells: int) -> list[Line]:
    """Lines of at most `cells` cells, broken at spaces where there are any. Texts may hold newlines, and are
    otherwise harmless already."""
    lines: list[Line] = [[]]
    for text, ink in spans:
        first, *more = text.split("\n")
        lines[-1].append((first, ink))
        lines += [[(part, ink)] for part in more]
    return [row for line in lines for row in _folded(line, max(1, cells))]


def _folded(line: Line, cells: int) -> list[Line]:
    text = plain(line)
    if cell_len(text) <= cells:
        return [[span for span in line if span[0]]]
    rows, start = [], 0
    while start < len(text):
        end, after = _end_of_row(text, start, cells)
        rows.append(_cut(line, start, end))
        start = after
    return rows


def _end_of_row(text: str, start: int, cells: int) -> tuple[int, int]:
    """Where the row that begins at `start` ends, and the next begins: around the last space, else where it is
    full."""
    used, at = 0, start
    while at < len(text):
        used += get_character_cell_size(text[at])
        if used > cells:
            break
        at += 1
    if at == len(text):
        return at, at
    space = text.rfind(" ", start, at + 1)
    full = max(at, start + 1)
    return (space, space + 1) if space > start + cells // 3 else (full, full)


def _cut(line: Line, start: int, end: int) -> Line:
    cut: Line = []
    at = 0
    for text, ink in line:
        piece = text[max(0, start - at) : max(0, end - at)]
        if piece:
            cut.append((piece, ink))
        at += len(text)
    return cut
