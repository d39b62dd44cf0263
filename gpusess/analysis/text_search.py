"""Looking for a text in the journal's own bytes, where upper and lower case of a-z count as one. Whose bytes
they are and where rows begin, `result_query` knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

NOT = bytes([1, 0]) + bytes(254)
"""Turns bytes that are 0 or 1 into their opposites, by `translate`."""


class Needle:
    """A text to be looked for. whole: only a text that is just this counts.

    The work is done by the regular expressions that pydantic brings along: unlike `lower` and `find` they go
    through bytes once and without a copy, at several GB/s. They read UTF-8 alone; bytes that are none (a
    journal's checksum vouches for bytes, not for their sense) are looked at the slow way.
    """

    def __init__(self, text: str, whole: bool) -> None:
        raw = json.dumps(text, ensure_ascii=False)[1:-1]  # as the journal writes it inside a string
        self._plain = raw.encode("utf-8", "backslashreplace").lower()
        pattern = "".join(map(_either_case, self._plain.decode()))
        self._whole = whole
        self._somewhere = _validator(pattern)
        self._here = (_validator(rf"\A{pattern}\z") if whole else self._somewhere).isinstance_python

    def nowhere_in(self, lines: bytes) -> bool:
        """Whether no text in these bytes can have it. Where it is there this makes a str of them all: that is
        slow for what is not ASCII."""
        from pydantic_core import ValidationError

        try:
            self._somewhere.validate_python(lines)
        except ValidationError as exc:
            (problem,) = exc.errors(include_url=False, include_context=False, include_input=False)
            return problem["type"] == "string_pattern_mismatch"  # and not that they are no UTF-8
        return False

    def among(self, texts: Sequence[bytes]) -> bytes:
        """A byte a text: whether it has it."""
        found = bytearray(map(self._here, texts))
        for at in compress(range(len(texts)), found.translate(NOT)):
            if not texts[at].isascii():
                found[at] = self._plainly(texts[at])
        return bytes(found)

    def _plainly(self, text: bytes) -> bool:
        lower = text.lower()
        return lower == self._plain if self._whole else self._plain in lower


@lru_cache(maxsize=8)
def needle(text: str, whole: bool) -> Needle:
    """The same for every frame of a search."""
    return Needle(text, whole)


def _either_case(char: str) -> str:
    return f"[{char}{char.upper()}]" if char.isascii() and char.isalpha() else f"\\x{{{ord(char):x}}}"


def _validator(pattern: str) -> Any:
    # A hundredth of a second: only who looks for texts.
    from pydantic_core import SchemaValidator, core_schema

    return SchemaValidator(core_schema.str_schema(pattern=pattern))
