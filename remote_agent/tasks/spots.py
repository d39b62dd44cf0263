"""Finding places in a completion: ends of lines, closing braces, JSON values. Each looks at a text once.

Completions may be megabytes of noise, so nothing here takes more than time in proportion to its length.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_TRIES = 200
"""Places where JSON may begin that are tried before the rest of the text is left alone."""
MAX_LOOK = 200_000
"""Characters at the end of a text that are searched for JSON."""

_DECODER = json.JSONDecoder()
_BRACE = re.compile(r"\\boxed\s*\{|[{}]")
_JSON_START = re.compile(r"\{(?=\s*[\"}])|\[(?=\s*[\[{\"\-\dtfn\]])")
"""Where JSON may begin: LaTeX is full of braces that are none of it."""


def line_end(text: str, start: int) -> int:
    """Where the line that `start` stands in ends."""
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def boxes(text: str) -> list[tuple[int, int]]:
    """Where the insides of all closed `\\boxed{…}` begin and end, in the order of their ends."""
    found, opened = list[tuple[int, int]](), list[int]()
    for match in _BRACE.finditer(text):
        if match[0] != "}":
            opened.append(match.end() if match[0] != "{" else -1)
        elif opened:
            start = opened.pop()
            if start >= 0:
                found.append((start, match.start()))
    return found


def json_values(text: str) -> list[tuple[Any, tuple[int, int]]]:
    """The outermost JSON objects and lists of a text, with their places (end exclusive)."""
    found: list[tuple[Any, tuple[int, int]]] = []
    at, tries = max(0, len(text) - MAX_LOOK), 0
    while tries < MAX_TRIES and (match := _JSON_START.search(text, at)):
        tries += 1
        try:
            value, end = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            at = match.start() + 1
            continue
        found.append((value, (match.start(), end)))
        at = end
    return found
