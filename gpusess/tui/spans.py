"""Lines as panes make them: lists of (text, ink). Plain data that a test can read; text in it is never
markup, and whatever is not printable is taken out before it reaches a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip

from gpusess.analysis.text import clean
from gpusess.tui.theme import Inks, to_ascii

Span = tuple[str, str]
Line = list[Span]
Align = Literal["left", "right"]


def width(line: Line) -> int:
    """Cells that the line takes."""
    cells = 0
    for text, _ in line:
        cells += len(text) if _is_plain(text) else cell_len(text)
    return cells


def _is_plain(text: str) -> bool:
    """Whether each character is harmless and takes one cell."""
    return text.isascii() and text.isprintable()


def plain(line: Line) -> str:
    return "".join(text for text, _ in line)


def crop(line: Line, cells: int) -> Line:
    """At most `cells` cells; what is cut off leaves an ellipsis."""
    safe = [(text if text.isprintable() else clean(text), ink) for text, ink in line]
    if width(safe) <= cells:
        return safe
    cropped: Line = []
    left = cells - 1
    for text, ink in safe:
        size = cell_len(text)
        if size > left:
            cropped.append((set_cell_size(text, max(0, left)) + "…" * (cells > 0), ink))
            break
        cropped.append((text, ink))
        left -= size
    return cropped


def fit(line: Line, cells: int, align: Align = "left") -> Line:
    """Exactly `cells` cells."""
    if len(line) == 1 and _is_plain(line[0][0]) and len(line[0][0]) <= cells:  # what most cells of tables are
        cropped, gap = [line[0]], cells - len(line[0][0])
    else:
        cropped = crop(line, cells)
        gap = cells - width(cropped)
    if gap <= 0:
        return cropped
    padding = (" " * gap, "")
    return [padding, *cropped] if align == "right" else [*cropped, padding]


def spread(left: Line, right: Line, cells: int) -> Line:
    """`left` at the left end and `right` at the right end; `left` is cut where they would touch."""
    room = cells - width(right)
    return [*fit(left, max(0, room - 1)), (" ", ""), *right] if room > 1 else fit(left, cells)


def joined(parts: Iterable[Line], separator: str = "  ", ink: str = "faint") -> Line:
    """The parts that are not empty, with a separator between them."""
    line: Line = []
    for part in parts:
        if part:
            line += [(separator, ink), *part] if line else part
    return line


def wrapped(text: str, ink: str, cells: int, rows: int) -> list[Line]:
    """Words over at most `rows` lines; the last one is cut."""
    lines: list[str] = [""]
    for word in clean(text).split():
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > cells and len(lines) < rows:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return [crop([(line, ink)], cells) for line in lines]


def title(text: str, inks: Inks, pad: str = " ") -> Content:
    """The title in a pane's rule: plain text, never markup, with the air that Textual gives boxes only."""
    shown = clean(text)
    return Content(f"{pad}{to_ascii(shown) if inks.ascii else shown}{pad}")


def difference(was: Line, now: Line, cells: int) -> tuple[int, int]:
    """(x, width) of the part of a line of so many cells that looks different now."""
    if not all(text.isprintable() for text, _ in (*was, *now)):
        return 0, cells  # what is drawn of it is not what it says
    first = _alike(was, now)
    if width(was) != width(now):
        return first, max(0, cells - first)
    last = _alike(
        [(text[::-1], ink) for text, ink in reversed(was)], [(t[::-1], i) for t, i in reversed(now)]
    )
    return first, max(1, width(now) - last - first)


def _alike(was: Line, now: Line) -> int:
    """Cells that two lines have in common at their beginning."""
    x = 0
    for (old, old_ink), (new, ink) in zip(was, now, strict=False):
        if old == new and old_ink == ink:
            x += cell_len(new)
            continue
        if old_ink == ink and old.isascii() and new.isascii():
            x += next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
        break
    return x


def to_strip(line: Line, inks: Inks, cells: int, base: Style, background: str = "") -> Strip:
    """What a terminal gets. `base` fills what no ink says; `background` is an ink under the whole line."""
    segments = []
    for ink, parts in groupby(fit(line, cells), itemgetter(1)):  # each segment costs a colour's bytes
        text = "".join(part for part, _ in parts)
        shown = to_ascii(text) if inks.ascii else text
        segments.append(Segment(shown, base + inks(f"{ink} {background}" if background else ink)))
    return Strip(segments, cells)
