"""Answers that grow, drawn beside each other on a terminal. Texts come in clean."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, chop_cells, set_cell_size

GAP = "  │ "
LEAST = 24
"""Cells of the narrowest column; with less each answer has the whole width."""


@dataclass(slots=True)
class Column:
    """One answer. `foot` stands below the text once the answer is whole."""

    head: str
    text: str = ""
    foot: str = ""


def fits(columns: int, width: int) -> bool:
    """Whether that many columns have room side by side."""
    return (width - len(GAP) * (columns - 1)) // columns >= LEAST


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at blanks where there are any."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split(" "):
            joined = f"{line} {word}" if line else word
            if cell_len(joined) <= width:
                line = joined
                continue
            if line:
                lines.append(line)
            *whole, line = chop_cells(word, width) or [""]
            lines += whole
        lines.append(line)
    return lines


def table(columns: list[Column], width: int) -> list[str]:
    """The columns as lines of text, each of at most `width` cells."""
    each = (width - len(GAP) * (len(columns) - 1)) // len(columns)
    blocks = [
        [column.head, "─" * min(each, cell_len(column.head)), *wrapped(column.text, each), column.foot]
        for column in columns
    ]
    height = max(map(len, blocks))
    rows = zip(*(block + [""] * (height - len(block)) for block in blocks), strict=True)
    return [GAP.join(set_cell_size(cell, each) for cell in row).rstrip() for row in rows]


class Live:
    """Draws the columns again and again in the same place; what scrolled off the top stays as it was."""

    def __init__(self, width: int, height: int, out: TextIO = sys.stdout) -> None:
        self._width, self._height, self._out = width, height, out
        self._drawn = 0

    def draw(self, columns: list[Column]) -> None:
        lines = table(columns, self._width)[-(self._height - 1) :]
        self._clear()
        self._out.write("\n".join(lines) + "\n")
        self._out.flush()
        self._drawn = len(lines)

    def end(self, columns: list[Column]) -> None:
        """The whole of it, once."""
        self._clear()
        self._out.write("\n".join(table(columns, self._width)) + "\n")
        self._out.flush()
        self._drawn = 0

    def _clear(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}F\x1b[J")
