"""What a filter means for a frame's rows: each word makes a mask, a byte a row, and the masks are put
together. Texts are looked for in the journal's own bytes, which are handed in where a word needs them.
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Sequence
from itertools import compress, repeat
from typing import Any, NamedTuple

from gpusess.analysis.result_filter import Term
from gpusess.analysis.result_frame import Frame, Kind
from gpusess.analysis.text_search import NOT, Needle, needle

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
_FEW = 8
"""Where fewer than one row in so many is left, texts are looked at one by one."""
_PIECE = 256
Read = Callable[[int, int], bytes]
"""Bytes of the journal: from a place, so many."""


def matching(terms: Sequence[Term], frame: Frame, read: Read, others: Others | None = None) -> array[int]:
    """The numbers of the frame's rows that pass."""
    mask = b"\x01" * len(frame)
    for term in sorted(terms, key=_cost):
        if 1 not in mask:
            break
        found = _text_mask(term, frame, read, mask) if _cost(term) else _mask(term, frame, others)
        mask = _both(mask, found.translate(NOT) if term.negated else found)
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


class _Places(NamedTuple):
    """Where a frame's rows and their texts stand."""

    lines: array[int]
    """Where they begin, after the frame's start."""
    end: int
    """Where the last one ends."""
    texts: list[tuple[array[int], array[int]]]
    """Of completions and prompts: where they begin in their lines, and how long they are."""


def _text_mask(term: Term, frame: Frame, read: Read, mask: bytes) -> bytes:
    """Whether a row's completion, error, prompt or sample's name contains (or, by `=`, is) the text.

    Upper and lower case of a-z count as one. Rows that are out already may be given either way.
    """
    header = frame.header
    texts = [(frame.ints(name), frame.ints(f"{name}_length")) for name in ("text", "prompt")]
    places = _Places(frame.ints("line"), header.end - header.start, [t for t in texts if any(t[1])])
    wanted = needle(term.text, term.op == "=")
    found = bytearray(_by_text(term, frame.texts("sample")) if _may_name(term, frame) else len(frame))

    def read_frame(start: int, size: int) -> bytes:
        return read(header.start + start, size)

    if mask.count(1) * _FEW < len(mask):
        _in_few(wanted, places, read_frame, mask, found)
    else:
        _in_many(wanted, places, read_frame, mask, found)
    return bytes(found)


def _may_name(term: Term, frame: Frame) -> bool:
    """Whether a look at the names' bytes does not rule out that one contains the text."""
    plain = term.text.isascii() and term.text.isprintable() and not {'"', "\\"} & set(term.text)
    return not plain or term.text.lower().encode() in frame.raw_texts("sample").lower()


def _in_few(wanted: Needle, places: _Places, read: Read, mask: bytes, found: bytearray) -> None:
    """Mark the rows that have it, looking at each by itself."""
    for row in compress(range(len(mask)), mask):
        line = places.lines[row]
        if 1 in wanted.among([read(line + starts[row], lengths[row]) for starts, lengths in places.texts]):
            found[row] = 1


def _in_many(wanted: Needle, places: _Places, read: Read, mask: bytes, found: bytearray) -> None:
    """The same a few hundred rows at once: what is read of them then stays in the processor's cache."""
    frequent = False
    for first in range(0, len(mask), _PIECE):
        rows = slice(first, min(first + _PIECE, len(mask)))
        if 1 not in mask[rows]:
            continue
        base = places.lines[first]
        data = read(base, (places.lines[rows.stop] if rows.stop < len(mask) else places.end) - base)
        # Where the last rows had it, these are expected to: looking through them all first is not worth it.
        if not frequent and wanted.nowhere_in(data):
            continue
        there = _in_rows(wanted, places, rows, data)
        found[rows] = _either(bytes(found[rows]), there)
        frequent = 1 in there


def _in_rows(wanted: Needle, places: _Places, rows: slice, data: bytes) -> bytes:
    """A byte a row. data: of the journal, from the first of these rows on."""
    base, found = places.lines[rows.start], bytes(rows.stop - rows.start)
    for starts, lengths in places.texts:
        each = zip(map(operator.add, places.lines[rows], starts[rows]), lengths[rows], strict=True)
        found = _either(found, wanted.among([data[start - base : start - base + n] for start, n in each]))
    return found
