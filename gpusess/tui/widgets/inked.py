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
    """Of the content, between the paddings."""
    left: int
    right: int
    base: Style
    background: Color
    filters: Sequence[LineFilter]
    plain: bool
    """Nothing is drawn beside or over the lines; dialogs have a box, for one."""


class Inked(Widget):
    """Subclasses say which line is where (`line_at`)."""

    TITLE_PAD: ClassVar[str] = " "
    """Textual pads the title of a whole box itself, but not that of a rule."""

    _title = ""
    _look_of: object = None
    """What the look was found for; it holds while this is the same."""
    _drawn_as: _Look
    _strips: dict[tuple[tuple[Span, ...], str], Strip]

    @property
    def cockpit(self) -> CockpitApp:
        return cast("CockpitApp", self.app)

    @property
    def strips_kept(self) -> int:
        """So many lines are kept as they go to the terminal."""
        return KEPT

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
        width, height = self.region.size
        self._take_look(width)
        if not self._drawn_as.plain:
            return super().render_lines(crop)
        gutter = self.styles.gutter
        strips: list[Strip] = []
        for y in crop.line_range:
            if gutter.top <= y < height - gutter.bottom:
                strips.append(self._strip(*self.line_at(y - gutter.top)))
            else:
                strips += super().render_lines(Region(0, y, width, 1))
        if crop.column_span != (0, width):
            return [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _take_look(self, width: int) -> None:
        """Find the colours again where a style has changed, of this widget or of one around it."""
        inks, filters = self.cockpit.inks, self.get_line_filters()
        of = inks, filters, width, [node.styles._cache_key for node in self.ancestors_with_self]
        if of == self._look_of:
            return
        self._look_of = of
        styles = self.styles
        gutter = styles.gutter
        below, above = self.background_colors
        self._drawn_as = _Look(
            inks,
            width - gutter.width,
            gutter.left,
            gutter.right,
            self.rich_style,
            below + above,
            filters,
            self._has_plain_sides(),
        )
        self._strips = {}

    def _has_plain_sides(self) -> bool:
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

    def _strip(self, line: Line, background: str) -> Strip:
        """A line over the whole width, as it goes to the terminal."""
        key = (tuple(line), background)
        found = self._strips.get(key)
        if found is None:
            if len(self._strips) >= self.strips_kept:
                self._strips.clear()
            found = self._strips[key] = self._made(line, background)
        return found

    def _made(self, line: Line, background: str) -> Strip:
        look = self._drawn_as
        strip = to_strip(line, look.inks, look.cells, look.base, background)
        if look.left or look.right:
            beside = Style(bgcolor=look.background.rich_color)
            pads = [[Segment(" " * cells, beside)] if cells else [] for cells in (look.left, look.right)]
            strip = Strip([*pads[0], *strip, *pads[1]], look.left + look.cells + look.right)
        for line_filter in look.filters:
            strip = strip.apply_filter(line_filter, look.background)
        return strip
