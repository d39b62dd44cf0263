"""A table that asks for the rows it shows and for no others, so that a million of them cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView

from gpusess.tui.keys import bindings
from gpusess.tui.spans import Align, Line, fit, plain
from gpusess.tui.widgets.inked import KEPT, Inked

Cells = Sequence[Line]
Placed = tuple[int, int, Line]
"""Where a cell begins, how wide it is with the gap before it, and what is in it."""
RowGetter = Callable[[int], Cells]


@dataclass(frozen=True, slots=True)
class Column:
    """`rank` 0 stays longest when the table gets narrow; room that is left grows columns up to `most`."""

    title: str
    least: int
    most: int
    rank: int
    align: Align = "left"
    stretch: bool = False
    """Takes the room that no other column wants."""


def widths(columns: Sequence[Column], room: int, gap: int = 2) -> list[tuple[int, int]]:
    """(index, cells) of the columns that fit into `room` cells with `gap` between them, in their order."""
    kept = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[i].least for i in kept) + gap * (len(kept) - 1)

    while len(kept) > 1 and needed() > room:
        kept.remove(max(kept, key=lambda i: columns[i].rank))
    spare = max(0, room - needed())
    cells = {i: columns[i].least for i in kept}
    for i in sorted(kept, key=lambda i: columns[i].rank):
        extra = min(spare, columns[i].most - columns[i].least)
        cells[i] += extra
        spare -= extra
    for i in kept:
        if columns[i].stretch:
            cells[i] += spare
            spare = 0
    return [(i, cells[i]) for i in kept]


class RowTable(ScrollView, Inked, can_focus=True):
    """A header and rows, with a cursor and marks. It keeps no rows: `rows(i)` gives the cells of one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    @dataclass
    class Moved(Message):
        """The cursor is on another row."""

        row: int

    @dataclass
    class Opened(Message):
        """A row was clicked that had the cursor already."""

        row: int

    def __init__(self, columns: Sequence[Column], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.columns = columns
        self.count = 0
        self.cursor = 0
        self.marked: frozenset[int] = frozenset()
        self.empty: list[Line] = []
        """Shown in the place of rows where there are none."""
        self.redrawn = 0
        self._rows: RowGetter = lambda _: []
        self._fitted: list[tuple[int, int]] = []
        self._gap = 1
        self._state: Hashable = None
        self._kept: dict[int, tuple[Cells, list[Placed]]] = {}
        """Row → its cells and how they were placed last, while the widths are the same."""
        self._fresh: set[int] = set()
        """Rows that were asked for since the state became another one."""
        self._drawn: dict[int, list[Placed]] = {}
        self._drawn_from = 0
        """The first row, where `_drawn` was drawn: after scrolling it says nothing."""

    @property
    def text(self) -> str:
        """The visible rows, as plain text."""
        return "\n".join(plain(self._line(y)).rstrip() for y in range(self.size.height)).rstrip()

    def set_rows(
        self, count: int, rows: RowGetter, marked: frozenset[int] = frozenset(), state: Hashable = None
    ) -> None:
        """Take a new state of the rows; only visible rows that look different are drawn again.

        state: what all cells come from. Rows that were asked for under an equal one are not asked for again;
        None is equal to none.
        """
        self._rows, self.marked = rows, marked
        if state is None or state != self._state:
            self._state = state
            self._fresh.clear()
        if count != self.count:
            self.count = count
            self.virtual_size = Size(0, count + 1)
            self.cursor = min(self.cursor, max(0, count - 1))
        self._redraw_changed()

    def select(self, row: int) -> None:
        """Put the cursor on a row and scroll there; says nothing to anyone."""
        row = min(max(0, row), max(0, self.count - 1))
        if row != self.cursor:
            self.cursor = row
            self._show_cursor()
            self._redraw_changed()

    def forget(self) -> None:
        """Draw every row anew: the theme has changed."""
        self._drawn.clear()
        self._kept.clear()
        self._measure()
        self.refresh()

    def action_move(self, step: int) -> None:
        self._go(self.cursor + step)

    def action_page(self, direction: int) -> None:
        self._go(self.cursor + direction * max(1, (self.size.height - 1) // 2))

    def action_top(self) -> None:
        self._go(0)

    def action_bottom(self) -> None:
        self._go(self.count - 1)

    def on_click(self, event: events.Click) -> None:
        row = event.y - 1 + self.scroll_offset.y
        if not 0 <= row < self.count or event.y < 1:
            return
        if row == self.cursor:
            self.post_message(self.Opened(row))
        self._go(row)

    def on_resize(self) -> None:
        self.virtual_size = Size(0, self.count + 1)
        self.forget()

    def line_at(self, y: int) -> tuple[Line, str]:
        if self.scroll_offset.y != self._drawn_from:
            self._drawn_from = self.scroll_offset.y
            self._drawn.clear()
        if y not in self._drawn:
            self._drawn[y] = self._placed(y)
        line = [span for _, _, cell in self._drawn[y] for span in cell]
        row = self._row_at(y)
        here = y > 0 and row == self.cursor and self.count > 0
        return line, "on-cursor" if here else ""

    def _go(self, row: int) -> None:
        before = self.cursor
        self.select(row)
        if self.cursor != before:
            self.post_message(self.Moved(self.cursor))

    def _show_cursor(self) -> None:
        visible = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + visible:
            self.scroll_to(y=self.cursor - visible + 1, animate=False, immediate=True)

    def _row_at(self, y: int) -> int:
        return y - 1 + self.scroll_offset.y

    def _line(self, y: int) -> Line:
        return [span for _, _, cell in self._placed(y) for span in cell]

    def _measure(self) -> None:
        """How wide the columns are now: asked for each row, and the same for all."""
        before = self._gap, self._fitted
        self._gap = 2 if self.size.width >= 100 else 1
        self._fitted = widths(self.columns, self.size.width - 3, self._gap)
        if before != (self._gap, self._fitted):
            self._kept.clear()

    def _placed(self, y: int) -> list[Placed]:
        """The cells at screen row `y` of the content, from left to right: the header stays where it is."""
        if not self.count:
            return [(0, self.size.width, self.empty[y] if y < len(self.empty) else [])]
        if y == 0:
            titles: Cells = [[(column.title, "dim")] for column in self.columns]
            return [(0, 2, [("  ", "")]), *self._cells(titles)]
        row = self._row_at(y)
        if row >= self.count:
            return []
        gutter = "▌" if row == self.cursor else " "
        mark = "■" if row in self.marked else " "
        return [(0, 2, [(gutter, "data"), (mark, "warn")]), *self._row(row)]

    def _row(self, row: int) -> list[Placed]:
        """A row's cells in their places. Cells that are the very same as before are placed as before."""
        known, placed = self._kept.get(row, (None, []))
        if known is not None and row in self._fresh:
            return placed
        cells = self._rows(row)
        if cells is not known:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            placed = self._cells(cells)
            self._kept[row] = (cells, placed)
        self._fresh.add(row)
        return placed

    def _cells(self, cells: Cells) -> list[Placed]:
        if not self._fitted:
            self._measure()
        placed: list[Placed] = []
        x = 2
        for i, size in self._fitted:
            gap = self._gap if placed else 0
            line = fit(cells[i], size, self.columns[i].align)
            placed.append((x, size + gap, [(" " * gap, ""), *line] if gap else line))
            x += size + gap
        return placed

    def _redraw_changed(self) -> None:
        """Send what looks different: the cells of a row that have changed, or all of it with the cursor."""
        self._measure()
        before, self._drawn = self._drawn, {}
        self._drawn_from = self.scroll_offset.y
        changed: list[Region] = []
        for y in range(self.size.height):
            was, now = before.get(y, []), self._placed(y)
            self._drawn[y] = now
            if len(was) != len(now) or was[:1] != now[:1]:
                changed.append(Region(0, y, self.size.width, 1))
            else:
                both = zip(was, now, strict=True)
                changed += [Region(x, y, wide, 1) for old, (x, wide, cell) in both if old != (x, wide, cell)]
        self.redrawn += len(changed)
        if changed:
            self.refresh(*changed)
