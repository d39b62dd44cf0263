"""Sending only the cells that have changed. Textual's compositor knows which those are, but sends each line
from the left edge of its widget on; over a slow link that is most of the bytes.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor


class TightUpdate(ChopsUpdate):
    """The same update, cut at both ends of each span."""

    def render_segments(self, console: Console) -> str:
        """The text and control sequences for a terminal."""
        sent: list[str] = []
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                left, right = max(x, x1), min(end, x2)
                if strip is not None and left < right:
                    part = strip if (left, right) == (x, end) else strip.crop(left - x, right - x)
                    sent += (Control.move_to(left, y).segment.text, part.render(console))
        return "".join(sent)


class TightCompositor(Compositor):
    def render_partial_update(self) -> ChopsUpdate | None:
        update = super().render_partial_update()
        return update and TightUpdate(update.chops, update.spans, update.chop_ends)
