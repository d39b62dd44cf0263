"""Log lines of all sources, merged by time: a scrolling view over the log book, with filters, a search and
a follow mode. It draws the visible lines only and copies none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView

from gpusess.analysis.logs import LogBook, LogLine
from gpusess.tui import fmt
from gpusess.tui.keys import bindings
from gpusess.tui.spans import Line, plain
from gpusess.tui.widgets.inked import Inked

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_SHOWN = {"DEBUG": ("DEBUG", "dim"), "INFO": ("INFO ", "ok"), "WARNING": ("WARN ", "warn")}
_ERROR = ("ERROR", "err bold")


def log_line(line: LogLine, find: str = "") -> Line:
    """One line: time, level, source, text; occurrences of `find` are marked."""
    level, ink = _SHOWN.get(line.level, _ERROR)
    when = fmt.of_day(line.ts) if line.ts else " " * 8
    text_ink = {"DEBUG": "dim", "INFO": ""}.get(line.level, ink.split()[0])
    head: Line = [(when, "dim"), (f" {level} ", ink), (f"{line.source:<6} ", "info")]
    return [*head, *_marked(line.text, text_ink, find)]


def _marked(text: str, ink: str, find: str) -> Line:
    if not find:
        return [(text, ink)]
    parts: Line = []
    low, at = text.lower(), 0
    while (found := low.find(find, at)) >= 0:
        parts += [(text[at:found], ink), (text[found : found + len(find)], f"{ink} on-match bold".strip())]
        at = found + len(find)
    return [*parts, (text[at:], ink)]


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What is shown: from a level up, and of one source ('' for all)."""

    level: str = "DEBUG"
    source: str = ""

    def of(self, lines: Sequence[LogLine]) -> Sequence[LogLine]:
        """The lines that pass; the sequence itself where all do."""
        if self == LogFilter():
            return lines
        hidden = LEVELS[: LEVELS.index(self.level)]
        return [x for x in lines if x.level not in hidden and self.source in ("", x.source)]


class LogView(ScrollView, Inked, can_focus=True):
    """The lines. It follows the end until somebody scrolls away from it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.following = True
        self.filter = LogFilter()
        self.find = ""
        self.match: LogLine | None = None
        """The line on which the search stands."""
        self.redrawn = 0
        self._book: LogBook | None = None
        self._lines: Sequence[LogLine] = []
        self._seen: tuple[object, ...] = ()
        self._left_at = 0
        self._dropped = 0

    @property
    def text(self) -> str:
        """The line of the search, else the visible lines, as plain text."""
        if self.match:
            return plain(log_line(self.match))
        top = self.scroll_offset.y
        return "\n".join(plain(log_line(x)) for x in self._lines[top : top + self.size.height])

    @property
    def badge(self) -> Line:
        """FOLLOW, or how many lines have come since the view was scrolled away."""
        if self.following:
            return [("FOLLOW", "ok bold")]
        new = self._arrived - self._left_at
        return [(f"+{new:,} lines" if new else "scrolled", "warn bold"), (" (G follows)", "dim")]

    @property
    def _arrived(self) -> int:
        return self._book.dropped + len(self._book.lines) if self._book else 0

    def take(self, book: LogBook | None) -> None:
        """Show a book as it stands; costs nothing where it has not grown."""
        seen = (book, book.version if book else 0, self.filter)
        if seen == self._seen:
            return
        other = not self._seen or book is not self._seen[0]
        gone = 0 if other or not book else book.dropped - self._dropped
        self._seen, self._book, self._dropped = seen, book, book.dropped if book else 0
        if other:
            self.following, self.match, self._left_at = True, None, 0
        self._lines = self.filter.of(book.lines) if book else []
        self.virtual_size = Size(0, len(self._lines))
        if self.following:
            self._to_end()
        elif gone:
            # Lines left at the beginning: the same lines stay in view.
            self._scroll(self.scroll_offset.y - gone)
        self._redraw()

    def narrow(self, level: str, source: str) -> None:
        self.filter = LogFilter(level, source)
        self.take(self._book)

    def search(self, text: str) -> None:
        """Mark every occurrence and go to the newest one."""
        self.find, self.match = text.lower(), None
        if self.find:
            self._go_to_match(range(len(self._lines) - 1, -1, -1))
        self._redraw()

    def next_match(self, direction: int) -> bool:
        """Go to the next match; False where there is none."""
        if not self.find:
            return False
        here = self.scroll_offset.y
        if self.match in self._lines:
            here = self._lines.index(self.match)
        count = len(self._lines)
        return self._go_to_match([(here + direction * i) % count for i in range(1, count + 1)])

    def action_move(self, step: int) -> None:
        self._scroll(self.scroll_offset.y + step)

    def action_page(self, direction: int) -> None:
        self._scroll(self.scroll_offset.y + direction * max(1, self.size.height // 2))

    def action_top(self) -> None:
        self._scroll(0)

    def action_bottom(self) -> None:
        self._scroll(len(self._lines))

    def forget(self) -> None:
        self.refresh()

    def on_resize(self) -> None:
        if self.following:
            self._to_end()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        at_end = new_value >= self.max_scroll_y
        if self.following and not at_end:
            self._left_at = self._arrived
        self.following = at_end

    def line_at(self, y: int) -> tuple[Line, str]:
        at = y + self.scroll_offset.y
        if at >= len(self._lines):
            empty = "No log lines yet." if not self._arrived else "No line passes this filter."
            return [(empty, "dim")] if y == 0 and not self._lines else [], ""
        line = self._lines[at]
        here = "on-cursor" if line is self.match else ""
        return log_line(line, self.find), here

    def _go_to_match(self, order: Sequence[int]) -> bool:
        for i in order:
            if self.find in self._lines[i].text.lower():
                self.match = self._lines[i]
                self._scroll(i - self.size.height // 2)
                self._redraw()
                return True
        return False

    def _scroll(self, top: int) -> None:
        self.scroll_to(y=min(max(0, top), self.max_scroll_y), animate=False, immediate=True)

    def _to_end(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)

    def _redraw(self) -> None:
        self.redrawn += self.size.height
        self.refresh(Region(0, 0, self.size.width, self.size.height))
