"""Text from a model or an instance, made harmless before it is drawn or printed; sizes in words."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS and the like, with what they carry
    r"|\x1b[@-Z\\-_]?",
    re.DOTALL,
)
_HARMLESS_FORMAT = "\u200d"
"""The zero-width joiner: needed inside emoji and some scripts, and it hides nothing."""

MAX_LINE = 4000


def clean(text: str, limit: int = MAX_LINE) -> str:
    """One harmless line: no escapes, control or bidi characters; longer than `limit` characters is cut."""
    cut = text[: limit * 2]
    plain = _ESCAPES.sub("", cut) if "\x1b" in cut else cut
    if not plain.isprintable():
        plain = "".join(map(_visible, plain))
    return plain if len(plain) <= limit and len(cut) == len(text) else plain[:limit] + "…"


def clean_block(text: str, limit: int = 100_000) -> str:
    """Several harmless lines."""
    return "\n".join(clean(line) for line in text[:limit].splitlines())


def size(count: float) -> str:
    """Bytes of files or on a line, for a reader: `812 B`, `3.4 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def _visible(char: str) -> str:
    if char == "\t":
        return "    "
    if char == _HARMLESS_FORMAT:
        return char
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        return "" if category == "Cf" else "\ufffd"
    return char
