"""The base of all widgets that draw their lines themselves, with the inks of the theme. What is the same for
all lines of one drawing is asked for once, and a line that was drawn lately is not made again: Textual's own
way asks the whole tree for the colours of each line, and makes each anew that has moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from gpusess.tui.spans import Line, Span, title, to_strip
from gpusess.tui.theme import Inks

if TYPE_CHECKING:
    from gpusess.tui.app import CockpitApp

KEPT = 256
"""Strips that a widget keeps: some screens of lines."""


class _Look(NamedTuple):
    """What a strip depends on beside its line."""

    inks: Inks
    cells: int
    left: int
    right: int
    base: Style
    background: Color
    filters: Sequence[LineFilter]


class Inked(Widget):
    """Subclasses say which line is where (`line_at`)."""

    TITLE_PAD: ClassVar[str] = " "
    """Textual pads the title of a whole box itself, but not that of a rule."""

    _title = ""
    _drawn_as: _Look | None = None
    _strips: dict[tuple[tuple[Span, ...], str], Strip]

    @property
    def cockpit(self) -> CockpitApp:
        return cast("CockpitApp", self.app)

    def line_at(self, y: int) -> tuple[Line, str]:
        """The line at a row of the content area, and the ink under all of it, where there is one."""
        raise NotImplementedError

    def entitle(self, text: str) -> None:
        """Set the title in the upper rule. Plain text: a name is never markup."""
        if text != self._title:
            self._title = text
            # Not as `border_title`: that sends the whole widget again, and some titles hold a live figure.
            self._border_title = title(text, self.cockpit.inks, self.TITLE_PAD)
            self.refresh(Region(-self.content_offset.x, -1, self.outer_size.width, 1))

    def render_line(self, y: int) -> Strip:
        """As Textual asks for it where it draws the box around the lines."""
        line, background = self.line_at(y)
        return to_strip(line, self.cockpit.inks, self.size.width, self.rich_style, background)

    def render_lines(self, crop: Region) -> list[Strip]:
        if not self._has_plain_sides():
            return super().render_lines(crop)
        region, gutter = self.region, self.styles.gutter
        self._take_look(region.width - gutter.width, gutter.left, gutter.right)
        strips: list[Strip] = []
        for y in crop.line_range:
            if gutter.top <= y < region.height - gutter.bottom:
                strips.append(self._strip(*self.line_at(y - gutter.top)))
            else:
                strips += super().render_lines(Region(0, y, region.width, 1))
        if crop.column_span != (0, region.width):
            return [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _has_plain_sides(self) -> bool:
        """Whether nothing is drawn beside or over the lines; dialogs have a box, for one."""
        styles = self.styles
        _, (right, _), _, (left, _) = styles.border
        return not (
            right
            or left
            or any(edge for edge, _ in styles.outline)
            or styles.has_rule("hatch")
            or styles.tint.a
            or styles.text_opacity != 1.0
            or self.opacity != 1.0
        )

    def _take_look(self, cells: int, left: int, right: int) -> None:
        below, above = self.background_colors
        look = _Look(
            self.cockpit.inks, cells, left, right, self.rich_style, below + above, self.get_line_filters()
        )
        if look != self._drawn_as:
            self._drawn_as, self._strips = look, {}

    def _strip(self, line: Line, background: str) -> Strip:
        """A line over the whole width, as it goes to the terminal."""
        key = (tuple(line), background)
        found = self._strips.get(key)
        if found is None:
            if len(self._strips) >= KEPT:
                self._strips.clear()
            found = self._strips[key] = self._made(line, background)
        return found

    def _made(self, line: Line, background: str) -> Strip:
        look = self._drawn_as
        assert look
        strip = to_strip(line, look.inks, look.cells, look.base, background)
        if look.left or look.right:
            beside = Style(bgcolor=look.background.rich_color)
            pads = [[Segment(" " * cells, beside)] if cells else [] for cells in (look.left, look.right)]
            strip = Strip([*pads[0], *strip, *pads[1]], look.left + look.cells + look.right)
        for line_filter in look.filters:
            strip = strip.apply_filter(line_filter, look.background)
        return strip
