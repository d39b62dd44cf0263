"""Drawing and sending only what has changed. Textual's compositor knows which cells those are, but asks every
widget between the first and the last of them for its lines, those that others cover included, and sends each
line from the left edge of its widget on; over a slow link that is most of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import cast

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.strip import Strip

Spans = list[tuple[int, int, int]]
"""(y, x1, x2): cells of a line."""


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
    """Asks a widget only for lines of which something is wanted that no widget above it covers."""

    def render_partial_update(self) -> ChopsUpdate | None:
        screen = self.size.region
        changed = [region for dirty in self._dirty_regions if (region := dirty.intersection(screen))]
        self._dirty_regions.clear()
        if not changed:
            return None
        spans = list(self._regions_to_spans(changed))
        chops = self._filled(spans)
        return TightUpdate(chops, spans, [cuts[1:] for cuts in self.cuts])

    def _render_chops(
        self, crop: Region, is_rendered_line: Callable[[int], bool]
    ) -> Sequence[Mapping[int, Strip]]:
        return self._filled([(y, crop.x, crop.right) for y in crop.line_range if is_rendered_line(y)])

    def _filled(self, spans: Spans) -> Sequence[Mapping[int, Strip]]:
        """For each line of the screen its pieces, by where they begin; None where nothing of one is wanted.

        No edge of a widget lies inside a piece, so the first widget from above that reaches it covers it all.
        """
        cuts = self.cuts
        chops: list[dict[int, Strip | None]] = [dict.fromkeys(line[:-1]) for line in cuts]
        wanted = _pieces(cuts, spans)
        for widget, (region, clip) in self.visible_widgets.items():
            part = region.intersection(clip)
            lines = [y for y in part.line_range if y in wanted and _reaches(part, wanted[y])]
            if not lines:
                continue
            top = lines[0]
            ask = Region(part.x, top, part.width, lines[-1] - top + 1)
            strips = widget.render_lines(ask.translate(-region.offset))
            for y in lines:
                edges = [cut for cut in cuts[y] if part.x <= cut <= part.right]
                pieces = strips[y - top].divide([cut - part.x for cut in edges[1:]])
                for x, piece in zip(edges, pieces, strict=False):
                    if x in wanted[y]:
                        wanted[y].discard(x)
                        chops[y][x] = piece
                if not wanted[y]:
                    del wanted[y]
            if not wanted:
                break
        return cast("Sequence[Mapping[int, Strip]]", chops)


def _pieces(cuts: list[list[int]], spans: Iterable[tuple[int, int, int]]) -> dict[int, set[int]]:
    """Where the pieces begin that the spans touch, for each line that they lie on."""
    wanted: dict[int, set[int]] = {}
    for y, x1, x2 in spans:
        line = cuts[y]
        touched = {x for x, end in pairwise(line) if x < x2 and end > x1}
        wanted.setdefault(y, set()).update(touched)
    return wanted


def _reaches(part: Region, pieces: set[int]) -> bool:
    """Whether one of the pieces lies in a widget's visible part."""
    return any(part.x <= x < part.right for x in pieces)
