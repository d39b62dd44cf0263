"""What a filter means for a frame's rows: each word makes a mask, a byte a row, and the masks are put
together. Texts are looked for in the journal's own bytes, which are handed in where a word needs them.
"""

from __future__ import annotations

import json
import operator
from array import array
from collections.abc import Callable, Sequence
from itertools import compress, repeat
from typing import Any

from gpusess.analysis.result_filter import Term
from gpusess.analysis.result_frame import Frame, Kind

Others = Callable[[Frame], bytes]
"""A byte a row: how its result stands to another run's."""
ALONE, BOTH_RIGHT, LOST, GAINED, NEITHER = range(5)
"""How a result stands to the same sample's in another run: none there, right in both, right there only, right
here only, right in neither. Without a verdict in one of them it stands alone."""
_FLIP_WORDS = {
    "alone": (ALONE,), "same": (BOTH_RIGHT, NEITHER), "lost": (LOST,), "gained": (GAINED,),
    "flipped": (LOST, GAINED),
}  # fmt: skip

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ":": operator.eq, "=": operator.eq, "<": operator.lt, ">": operator.gt, "<=": operator.le,
    ">=": operator.ge,
}  # fmt: skip
_NOT = bytes([1, 0]) + bytes(254)
_FEW = 8
"""Where fewer than one row in so many is left, texts are looked at one by one."""
_PIECE = 256
Read = Callable[[int, int], bytes]
"""Bytes of the journal: from a place, so many."""
Range = tuple[list[int], "array[int]"]
"""Where the rows' texts begin after the frame's start, and how long they are."""


def matching(terms: Sequence[Term], frame: Frame, read: Read, others: Others | None = None) -> array[int]:
    """The numbers of the frame's rows that pass."""
    mask = b"\x01" * len(frame)
    for term in sorted(terms, key=_cost):
        if 1 not in mask:
            break
        found = _text_mask(term, frame, read, mask) if _cost(term) else _mask(term, frame, others)
        mask = _both(mask, found.translate(_NOT) if term.negated else found)
    return array("I", compress(range(frame.first, frame.first + len(frame)), mask))


def needs_texts(terms: Sequence[Term]) -> bool:
    return any(map(_cost, terms))


def _cost(term: Term) -> int:
    return term.what == "words" and term.name == "text"


def _either(a: bytes, b: bytes) -> bytes:
    either = int.from_bytes(a, "little") | int.from_bytes(b, "little")
    return either.to_bytes(len(a), "little")


def _both(a: bytes, b: bytes) -> bytes:
    both = int.from_bytes(a, "little") & int.from_bytes(b, "little")
    return both.to_bytes(len(a), "little")


def _mask(term: Term, frame: Frame, others: Others | None) -> bytes:
    if term.what == "state":
        return _by_kind(frame, lambda kind: is_state(kind, term.name))
    if term.what == "flip":
        codes = others(frame) if others else bytes(len(frame))
        return codes.translate(bytes(code in _FLIP_WORDS[term.name] for code in range(256)))
    if term.what == "metric":
        values = frame.floats(f"metric {term.name}")
        return _compared(term, values) if values else bytes(len(frame))
    if term.what == "number":
        if term.name == "row":
            return _compared(term, range(frame.first + 1, frame.first + len(frame) + 1))
        return _compared(term, frame.ints(term.name))
    if term.name in Kind._fields:
        return _by_kind(frame, lambda kind: _has(term, getattr(kind, term.name)))
    return _by_text(term, frame.texts(term.name))


def is_state(kind: Kind, state: str) -> bool:
    """Whether results of that kind are `right`, `no-answer`, `disagree`, …"""
    if state in ("right", "wrong", "failed"):
        return kind.verdict == state
    if state == "no-answer":
        return kind.verdict == "no_answer"
    if state == "disagree":
        return kind.disagree
    if state == "marked":
        return bool(kind.marks)
    return kind.reason == state


def _by_kind(frame: Frame, passes: Callable[[Kind], bool]) -> bytes:
    table = [passes(kind) for kind in frame.kinds]
    codes = frame.ints("kind")
    if codes.typecode == "B":
        return codes.tobytes().translate(bytes(table).ljust(256, b"\0"))
    return bytes(map(table.__getitem__, codes))


def _has(term: Term, value: object) -> bool:
    texts = value if isinstance(value, tuple) else (value,)
    return any(_fits(term, text) for text in texts if text is not None)


def _fits(term: Term, text: str) -> bool:
    return text.lower() == term.text.lower() if term.op == "=" else term.text.lower() in text.lower()


def _compared(term: Term, values: Sequence[float]) -> bytes:
    wanted = int(term.number) if term.number.is_integer() else term.number
    return bytes(map(_COMPARE[term.op], values, repeat(wanted)))


def _by_text(term: Term, values: Sequence[str | None]) -> bytes:
    wanted = term.text.lower()
    if term.op == "=":
        return bytes([value is not None and value.lower() == wanted for value in values])
    return bytes([value is not None and wanted in value.lower() for value in values])


# --- texts -----------------------------------------------------------------------------------------------


def _text_mask(term: Term, frame: Frame, read: Read, mask: bytes) -> bytes:
    """Whether a row's completion, error, prompt or sample's name contains (or, by `=`, is) the text.

    Upper and lower case of a-z count as one. Rows that are out already may be given either way.
    """
    named = _by_text(term, frame.texts("sample")) if _may_name(term, frame) else bytes(len(frame))
    lines = frame.ints("line")
    ranges = [
        (list(map(operator.add, lines, frame.ints(name))), lengths)
        for name in ("text", "prompt")
        if any(lengths := frame.ints(f"{name}_length"))
    ]
    wanted = _in_journal(term.text)
    if mask.count(1) * _FEW < len(mask):
        return _in_few(term, frame, read, mask, bytearray(named), ranges, wanted)
    pieces = [
        _in_piece(term, frame, read, lines, ranges, range(first, min(first + _PIECE, len(frame))), wanted)
        for first in range(0, len(frame), _PIECE)
    ]
    return _either(named, b"".join(pieces))


def _may_name(term: Term, frame: Frame) -> bool:
    """Whether a look at the names' bytes does not rule out that one contains the text."""
    plain = term.text.isascii() and term.text.isprintable() and not {'"', "\\"} & set(term.text)
    return not plain or term.text.lower().encode() in frame.raw_texts("sample").lower()


def _in_journal(text: str) -> bytes:
    """The text as the journal writes it inside a string, in lower case."""
    raw = json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "backslashreplace")
    return raw.lower()


def _in_few(
    term: Term, frame: Frame, read: Read, mask: bytes, found: bytearray, ranges: list[Range], wanted: bytes
) -> bytes:
    for row in compress(range(len(mask)), mask):
        for starts, lengths in ranges:
            text = read(frame.header.start + starts[row], lengths[row]).lower()
            if (text == wanted) if term.op == "=" else (wanted in text):
                found[row] = 1
    return bytes(found)


def _in_piece(
    term: Term, frame: Frame, read: Read, lines: array[int], ranges: list[Range], rows: range, wanted: bytes
) -> bytes:
    """A few hundred rows at once: what is read of the journal then stays in the processor's cache."""
    base = lines[rows[0]]
    end = lines[rows[-1] + 1] if rows[-1] + 1 < len(lines) else frame.header.end - frame.header.start
    data = read(frame.header.start + base, end - base)
    found = bytes(len(rows))
    for starts, lengths in ranges:
        places = zip(starts[rows[0] : rows[-1] + 1], lengths[rows[0] : rows[-1] + 1], strict=True)
        texts = [data[start - base : start - base + length] for start, length in places]
        whole = b"\n".join(texts).lower()
        if wanted in whole:
            compare = operator.eq if term.op == "=" else operator.contains
            found = _either(found, bytes(map(compare, whole.split(b"\n"), repeat(wanted))))
    return found
