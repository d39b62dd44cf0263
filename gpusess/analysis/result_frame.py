"""A stretch of a run's results as packed columns: numbers as arrays, short texts as JSON lists, and where
each record stands in the journal. A frame is one piece of bytes, the same on disk and in memory; nothing
here reads a file, and long texts are never in it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

FORMAT = 1
"""Grows when a frame of before would be read wrongly."""

INTS = ("line", "length", "text", "text_length", "prompt", "prompt_length", "kind", "candidate",
        "tokens_in", "tokens_out", "prompt_print", "gold_print")  # fmt: skip
"""Columns of whole numbers. `line`: bytes from the frame's start to the record's line; `text`, `prompt`:
bytes from the line's start to the first character of the completion (or the error), and of the prompt."""
TEXTS = ("sample", "extracted", "gold")

_CODES = (("B", 0, 1 << 8), ("H", 0, 1 << 16), ("I", 0, 1 << 32), ("q", -(1 << 63), 1 << 63))


class Kind(NamedTuple):
    """What many results have in common; a frame names each once."""

    verdict: str
    """right, wrong, no_answer or failed."""
    reason: str
    rule: str | None
    category: str
    disagree: bool
    marks: tuple[str, ...]
    finish: str


class Header(msgspec.Struct):
    """What stands before a frame's columns."""

    format: int
    order: str
    """The byte order of the machine that wrote it."""
    start: int
    end: int
    """Bytes of the journal that the frame covers: whole lines."""
    checksum: int
    """CRC-32 of the journal's bytes up to `end`."""
    tail: str
    """SHA-256 of the last 64 KiB before `end`."""
    rows: int
    lines: int
    """Lines of the journal up to `end`."""
    kinds: list[Kind]
    columns: dict[str, tuple[str, int, int]]
    """Name → type, place and size in bytes. Columns of zeros are left out."""
    others: list[tuple[int, int]]
    """Place in the journal and length of the lines that are no answer and begin no batch."""


class Frame:
    """Rows of one stretch. `read(start, size)` gives bytes of its payload; `first`: its first row's number.

    Columns are read when they are asked for, and kept only by `keep`.
    """

    def __init__(self, header: Header, read: Callable[[int, int], bytes], first: int = 0) -> None:
        self.header = header
        self.first = first
        self._read = read
        self._kept: dict[str, Any] = {}

    def __len__(self) -> int:
        return self.header.rows

    @property
    def kinds(self) -> list[Kind]:
        return self.header.kinds

    @property
    def metrics(self) -> list[str]:
        return [name[7:] for name in self.header.columns if name.startswith("metric ")]

    def ints(self, name: str, size: int | None = None) -> array[int]:
        """A column of whole numbers; zeros where it was left out. size: other than the number of rows."""
        if name in self._kept:
            kept: array[int] = self._kept[name]
            return kept
        code, raw = self._raw(name)
        return array(code or "B", raw if code else bytes(self.header.rows if size is None else size))

    def number(self, name: str, row: int) -> int:
        """One value of a column of whole numbers."""
        if name in self._kept:
            return int(self._kept[name][row])
        place = self.header.columns.get(name)
        if place is None:
            return 0
        code, start, _ = place
        size = array(code).itemsize
        return int(array(code, self._read(start + row * size, size))[0])

    def floats(self, name: str) -> array[float]:
        """`ts`, `score`, or `metric <name>`, which is NaN where a result lacks it. Empty: left out."""
        return array("d", self._raw(name)[1])

    def texts(self, name: str) -> list[Any]:
        """A column of short texts; None where there is none."""
        if name in self._kept:
            kept: list[Any] = self._kept[name]
            return kept
        return unpack_texts(self.raw_texts(name))

    def raw_texts(self, name: str) -> bytes:
        """The same as it is stored: a JSON list."""
        return self._raw(name)[1] or b"[]"

    def keep(self) -> None:
        """Hold the columns that single rows are drawn from in memory, until `forget`."""
        if not self._kept:
            kept = {name: self.ints(name) for name in INTS}
            self._kept = {**kept, **{name: self.texts(name) for name in TEXTS}}

    def forget(self) -> None:
        self._kept = {}

    def _raw(self, name: str) -> tuple[str, bytes]:
        place = self.header.columns.get(name)
        if place is None:
            return "", b""
        code, start, size = place
        return code, self._read(start, size)


def pack_ints(values: Iterable[int]) -> tuple[str, bytes]:
    """The smallest type that holds them all, and the bytes; no bytes for zeros. Raises OverflowError."""
    column = array("q", values)
    if not column:
        return "B", b""
    low, high = min(column), max(column)
    if low == high == 0:
        return "B", b""
    code = next(code for code, least, limit in _CODES if least <= low and high < limit)
    return code, (column if code == "q" else array(code, column)).tobytes()


def pack_texts(values: Sequence[str | None]) -> bytes:
    """A JSON list. Half a surrogate pair, which UTF-8 cannot hold, is written as an escape."""
    try:
        return msgspec.json.encode(values)
    except UnicodeEncodeError:
        return json.dumps(values).encode()


def unpack_texts(raw: bytes) -> list[Any]:
    try:
        return _LIST.decode(raw)
    except msgspec.DecodeError:
        return list(json.loads(raw))


_LIST = msgspec.json.Decoder(list[str | None])


def print_of(text: str) -> int:
    """64 bits that tell texts apart: what two runs' prompts and right answers are compared by."""
    raw = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little", signed=True)


def assemble(
    fixed: Mapping[str, Any], kinds: list[Kind], packed: Mapping[str, tuple[str, bytes]]
) -> tuple[Header, bytes]:
    """The header and the payload of these columns; empty ones are left out."""
    columns: dict[str, tuple[str, int, int]] = {}
    at = 0
    for name, (code, raw) in packed.items():
        if raw:
            columns[name] = (code, at, len(raw))
            at += len(raw)
    header = Header(format=FORMAT, order=sys.byteorder, kinds=kinds, columns=columns, **fixed)
    return header, b"".join(raw for _, raw in packed.values())
