"""From a journal's lines to frames: results and failed samples become rows, scores a list beside them, and
all other lines are remembered by their place. A line is taken only when its checksum holds.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from math import nan
from operator import attrgetter
from typing import Any

import msgspec

from gpusess.analysis.result_frame import Frame, Kind, assemble, pack_ints, pack_texts, print_of
from gpusess.analysis.slim import Slim
from remote_agent.journal import BadLine, decode, intact

FRAME_BYTES = 4 << 20
"""A frame covers whole lines of that many bytes or just more, so that everybody cuts the same frames."""

_ANSWERS = frozenset({"result", "failed"})
_COMPLETION, _ERROR, _PROMPT = b'"completion":"', b'"error":"', b'"prompt":"'
_LONG = {"completion": _COMPLETION, "error": _ERROR, "prompt": _PROMPT}
_STRING = re.compile(rb'(?:[^"\\]|\\.)*', re.DOTALL)


class Entry(Slim):
    """A record's short fields, and where its long ones stand."""

    finish: str = ""
    completion: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(Entry)
_KIND = attrgetter(*Kind._fields)
_SHORT = lru_cache(maxsize=1 << 16)(print_of)


class FrameBuilder:
    """Takes lines from `start` on; `frame` gives what was taken so far, `full` says when to begin the next.

    checksum: CRC-32 of the journal's bytes before `start`. lines: lines before it.
    """

    def __init__(self, start: int = 0, checksum: int = 0, lines: int = 0) -> None:
        self.start = self.end = start
        self.checksum = checksum
        self.lines = lines
        self._rows: list[Entry] = []
        self._places: list[tuple[int, int]] = []
        self._texts = {name: (array("q"), array("q")) for name in ("text", "prompt")}
        """Where they begin in their lines, and how long they are."""
        self._scores: list[Entry] = []
        self._others: list[tuple[int, int]] = []

    @property
    def room(self) -> int:
        """Bytes until the frame is full."""
        return max(0, self.start + FRAME_BYTES - self.end)

    @property
    def full(self) -> bool:
        return not self.room

    def take(self, lines: Sequence[bytes]) -> int:
        """Take whole lines (without their newlines), as many as the frame has room for; returns how many.

        Raises BadLine at a damaged one; those before it are taken.
        """
        lengths = [len(line) + 1 for line in lines]
        starts = list(accumulate(lengths, initial=self.end))
        room = next((i for i, start in enumerate(starts) if start - self.start >= FRAME_BYTES), len(lines))
        whole = next((i for i, line in enumerate(lines[:room]) if not intact(line)), room)
        taken, problem = 0, None
        try:
            for line, entry in zip(lines, _entries(lines[:whole]), strict=False):
                self._one(starts[taken], lengths[taken], line, entry)
                taken += 1
            if whole < room:
                decode(lines[whole])  # says what is wrong
        except BadLine as exc:
            problem = exc
        if taken:
            self.checksum = zlib.crc32(b"\n".join(lines[:taken]) + b"\n", self.checksum)
            self.end = starts[taken]
            self.lines += taken
        if problem:
            raise problem
        return taken

    def frame(self, first: int, tail: str = "") -> tuple[Frame, bytes]:
        """The frame and its payload. first: the number of its first row; tail: see `Header`."""
        codes: dict[tuple[Any, ...], int] = {}
        kinds = [codes.setdefault(kind, len(codes)) for kind in map(_kind_of, self._rows)]
        packed = {
            "line": pack_ints(place - self.start for place, _ in self._places),
            "length": pack_ints(length for _, length in self._places),
            "kind": pack_ints(kinds),
            **{name: pack_ints(starts) for name, (starts, _) in self._texts.items()},
            **{f"{name}_length": pack_ints(lengths) for name, (_, lengths) in self._texts.items()},
            **{name: pack_ints(map(attrgetter(name), self._rows)) for name in _NUMBERS},
            "prompt_print": pack_ints(map(print_of, map(_PROMPT_SHA, self._rows))),
            "gold_print": pack_ints(map(_SHORT, map(_GOLD, self._rows))),
            "ts": ("d", array("d", map(_TS, self._rows)).tobytes()),
            "sample": self._text_column(self._rows, "sample"),
            "extracted": self._text_column(self._rows, "extracted"),
            "gold": self._text_column(self._rows, "gold"),
            **self._metrics(),
            **self._score_columns(),
        }
        fixed = {"start": self.start, "end": self.end, "checksum": self.checksum, "tail": tail,
                 "rows": len(self._rows), "lines": self.lines, "others": list(self._others)}  # fmt: skip
        header, payload = assemble(fixed, [Kind(*kind) for kind in codes], packed)
        return Frame(header, lambda start, size: payload[start : start + size], first), payload

    def _one(self, place: int, length: int, line: bytes, entry: Entry) -> None:
        kind = entry.kind
        if entry.verdict:
            self._text("text", line, _COMPLETION, entry.completion)
        elif kind == "failed":
            self._text("text", line, _ERROR, entry.error)
        elif kind == "scored":
            self._scores.append(entry)
            return
        else:
            if kind != "begin":
                self._others.append((place, length))
            return
        self._text("prompt", line, _PROMPT, entry.prompt)
        self._rows.append(entry)
        self._places.append((place, length))

    def _text(self, name: str, line: bytes, key: bytes, raw: msgspec.Raw) -> None:
        """Where a text's characters stand in its line. Inside a string a key's quotes are escaped."""
        starts, lengths = self._texts[name]
        size = len(raw)
        if size < 3 or (size == 4 and bytes(raw) == b"null"):  # not there, or empty
            starts.append(0)
            lengths.append(0)
            return
        at = line.find(key)
        starts.append(at + len(key) if at >= 0 else line.find(bytes(raw)) + 1)
        lengths.append(size - 2)

    def _metrics(self) -> dict[str, tuple[str, bytes]]:
        names = dict.fromkeys(name for row in self._rows if row.metrics for name in row.metrics)
        return {
            f"metric {name}": (
                "d",
                array(
                    "d", [nan if r.metrics is None else r.metrics.get(name, nan) for r in self._rows]
                ).tobytes(),
            )
            for name in names
        }

    def _score_columns(self) -> dict[str, tuple[str, bytes]]:
        scores = self._scores
        if not scores:
            return {}
        return {
            "score": ("d", array("d", [s.score for s in scores]).tobytes()),
            "score_candidate": pack_ints(s.candidate for s in scores),
            "score_sample": self._text_column(scores, "sample"),
            "score_reranker": self._text_column(scores, "reranker"),
        }

    @staticmethod
    def _text_column(rows: list[Entry], name: str) -> tuple[str, bytes]:
        return "t", pack_texts(list(map(attrgetter(name), rows))) if rows else b""


_NUMBERS = ("candidate", "tokens_in", "tokens_out")
_PROMPT_SHA, _GOLD, _TS = attrgetter("prompt_sha"), attrgetter("gold"), attrgetter("ts")


def _kind_of(row: Entry) -> tuple[Any, ...]:
    kind: tuple[Any, ...] = _KIND(row)
    return kind if row.verdict else ("failed", *kind[1:])


def _entries(lines: Sequence[bytes]) -> Iterable[Entry]:
    """The lines' records; they are whole, as their checksums say."""
    try:
        return _DECODER.decode_lines(b"\n".join(lines)) if lines else []
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A text with half a surrogate pair, or a kind whose fields differ: the slow way reads it.
        return map(_slow, lines)


def _slow(line: bytes) -> Entry:
    record = decode(line)
    if record["kind"] not in (*_ANSWERS, "scored"):
        return Entry(kind=record["kind"], ts=record["ts"])
    short = {name: value for name, value in record.items() if name not in _LONG}
    try:
        entry = msgspec.convert(short, Entry)
    except msgspec.ValidationError as exc:
        raise BadLine(f"not a result: {exc}") from None
    for name, key in _LONG.items():
        if isinstance(record.get(name), str):
            setattr(entry, name, _raw(line, key))
    return entry


def _raw(line: bytes, key: bytes) -> msgspec.Raw:
    """A text as it stands in the line."""
    at = line.find(key)
    found = _STRING.match(line, at + len(key)) if at >= 0 else None
    return msgspec.Raw(b'"%s"' % found[0]) if found else msgspec.Raw()
