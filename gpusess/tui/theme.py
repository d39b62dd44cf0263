"""Three themes of our own, and the inks: the few named ways in which text is drawn. Panes name inks and
never colours, so that a theme, `ansi` or NO_COLOR is decided here alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

DARK = Theme(
    name="gpusess-dark",
    dark=True,
    primary="#6cb2f5",
    secondary="#8fa3bf",
    accent="#5cc8c0",
    success="#6cc48d",
    warning="#e3b262",
    error="#f0808a",
    foreground="#d3dae3",
    background="#0f1419",
    surface="#151b22",
    panel="#1b232c",
    variables={
        "dim": "#7f8c9b",
        "rule": "#33404c",
        "band": "#18324a",
        "spark": "#3d7f86",
        "cursor": "#1d3146",
        "match": "#5a4a1e",
    },
)

LIGHT = Theme(
    name="gpusess-light",
    dark=False,
    primary="#0b63b8",
    secondary="#57677a",
    accent="#0a7a75",
    success="#1a7f37",
    warning="#9a5b00",
    error="#bf2437",
    foreground="#1f262e",
    background="#fbfbf8",
    surface="#f3f4f2",
    panel="#e9ecee",
    variables={
        "dim": "#626e7a",
        "rule": "#ccd3da",
        "band": "#d3e5f7",
        "spark": "#74b0b0",
        "cursor": "#d8e8f8",
        "match": "#fbe7ab",
    },
)

ANSI = Theme(
    name="gpusess-ansi",
    ansi=True,
    dark=True,
    primary="ansi_blue",
    secondary="ansi_cyan",
    accent="ansi_cyan",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "dim": "ansi_default",
        "rule": "ansi_bright_black",
        "band": "ansi_default",
        "spark": "ansi_cyan",
        "cursor": "ansi_default",
        "match": "ansi_default",
    },
)

THEMES = (DARK, LIGHT, ANSI)

_COLOURS = {
    "dim": "dim",
    "faint": "rule",
    "ok": "success",
    "warn": "warning",
    "err": "error",
    "info": "accent",
    "data": "primary",
    "band": "band",
    "spark": "spark",
}
_BACKGROUNDS = {"on-band": "band", "on-cursor": "cursor", "on-match": "match"}
_ANSI_ATTRIBUTES = {
    "dim": Style(dim=True),
    "faint": Style(dim=True),
    "band": Style(dim=True),
    "on-cursor": Style(reverse=True),
    "on-match": Style(underline=True),
    "on-band": Style(),
}

_SYMBOLS = {
    "●": "*", "◐": "~", "○": "o", "✗": "x", "✓": "+", "▲": "!", "‖": "=", "■": "#", "▌": ">",
    "─": "-", "━": "=", "╸": "=", "╌": "-", "│": "|", "┤": "+", "└": "+", "┬": "+", "┴": "+",
    "·": "-", "×": "x", "±": "~", "…": "~", "›": ">", "–": "-", "→": ">", "█": "#", "░": ".", "▎": "|",
    "▁": "_", "▂": ".", "▃": "-", "▄": "=", "▅": "+", "▆": "*", "▇": "%",
    "°": " ", "▀": "~", "▔": "~", "⠿": "#",
    "≤": "<", "≥": ">", "↑": "^", "↓": "v", "⏎": "<", "←": "<", "◂": "<", "▸": ">",
}  # fmt: skip
_TO_ASCII = str.maketrans(_SYMBOLS)


def to_ascii(text: str) -> str:
    """The same text, cell for cell, in plain characters: our symbols in their likeness, letters without their
    marks, and a question mark for each cell of what has no likeness."""
    if text.isascii():
        return text
    plain = text.translate(_TO_ASCII)
    return plain if plain.isascii() else "".join(map(_plain, plain))


def _plain(char: str) -> str:
    if char.isascii():
        return char
    cells = cell_len(char)
    letter = unicodedata.normalize("NFKD", char)[:1]
    return letter if cells == 1 and letter.isascii() and letter.isprintable() else "?" * cells


class Inks:
    """The styles of one theme. An ink is a colour's name, a background's, `bold`, or several of them."""

    def __init__(self, variables: Mapping[str, str], *, ansi: bool, ascii: bool) -> None:
        self.ansi = ansi
        self.ascii = ascii
        self._variables = variables
        self._styles: dict[str, Style] = {}

    def __call__(self, ink: str) -> Style:
        style = self._styles.get(ink)
        if style is None:
            style = self._styles[ink] = self._mix(ink)
        return style

    def _mix(self, ink: str) -> Style:
        style = Style(color=self._colour("foreground"))
        for word in ink.split():
            style += self._one(word)
        return style

    def _one(self, word: str) -> Style:
        if word in ("bold", "reverse"):
            return Style.parse(word)
        if self.ansi and word in _ANSI_ATTRIBUTES:
            return _ANSI_ATTRIBUTES[word]
        if word in _BACKGROUNDS:
            return Style(bgcolor=self._colour(_BACKGROUNDS[word]))
        return Style(color=self._colour(_COLOURS[word]))

    def _colour(self, name: str) -> RichColor:
        return Color.parse(self._variables[name]).rich_color
