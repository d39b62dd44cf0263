"""The state that a long run's mirror was folded to, kept beside it, so that the next start need not fold it.

It counts only for these very files as far as they go, and for the very code that folded it; anything else is
folded anew. Nothing is ever read from it that the mirror does not say.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from gpusess.analysis import (
    best_so_far,
    intervals,
    run_parts,
    run_records,
    run_state,
    slim,
    sweep_state,
    training_state,
)
from gpusess.analysis.run_state import RunState
from remote_agent.follow import tail_sha

FILE = "state.saved"
WORTH_IT = 8 << 20
"""Bytes that must have been folded since the last time."""
MANY = 200_000
"""Of more answers than that, where each sample has several, the state is as long as the run: not kept."""

_FOLDING = (best_so_far, intervals, run_parts, run_records, run_state, slim, sweep_state, training_state)


class Mark(msgspec.Struct):
    """How far a file was folded."""

    length: int
    tail: str
    """SHA-256 of the last 64 KiB before that."""
    changed: int
    """When the file was last written, in nanoseconds. While it has not grown, that must be the same."""


class Saved(msgspec.Struct):
    code: int
    marks: dict[str, Mark]
    state: RunState


def save(folder: Path, state: RunState, lengths: dict[str, int]) -> None:
    """Keep the state of these files (name → bytes that it holds). Left undone where it cannot be written."""
    if len(state.best.right) > MANY:
        return
    # A text with half a surrogate pair, or a number of more than 64 bits, cannot be kept either.
    with contextlib.suppress(OSError, UnicodeEncodeError, OverflowError):
        marks = {name: _mark(folder / name, length) for name, length in lengths.items()}
        raw = msgspec.msgpack.encode(Saved(_code(), marks, state), enc_hook=_plain)
        aside = folder / f".{FILE}.{os.getpid()}"
        try:
            fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(zlib.crc32(raw).to_bytes(4, "little") + raw)
            aside.rename(folder / FILE)
        finally:
            aside.unlink(missing_ok=True)


def load(folder: Path) -> tuple[RunState, dict[str, int]] | None:
    """The state and how many bytes of each file it holds; None where none is kept of these files."""
    try:
        content = (folder / FILE).read_bytes()
        if zlib.crc32(content[4:]).to_bytes(4, "little") != content[:4]:
            return None
        saved = _DECODER.decode(content[4:])
        if saved.code != _code():
            return None
        if not all(_holds(folder / name, mark) for name, mark in saved.marks.items()):
            return None
    except (OSError, msgspec.DecodeError):
        return None
    saved.state.telemetry = deque(saved.state.telemetry, maxlen=RunState().telemetry.maxlen)
    return saved.state, {name: mark.length for name, mark in saved.marks.items()}


def _mark(path: Path, length: int) -> Mark:
    if not length:
        return Mark(0, "", 0)
    return Mark(length, tail_sha(path, length), path.stat().st_mtime_ns)


def _holds(path: Path, mark: Mark) -> bool:
    if not mark.length:
        return True
    found = path.stat()
    if found.st_size < mark.length or (found.st_size == mark.length and found.st_mtime_ns != mark.changed):
        return False
    return tail_sha(path, mark.length) == mark.tail


@cache
def _code() -> int:
    """What the fold is: another version may make something else of the same records."""
    value = 0
    for module in _FOLDING:
        value = zlib.crc32(Path(str(module.__file__)).read_bytes(), value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, deque):
        return list(value)
    raise NotImplementedError(type(value))


def _special(kind: Any, value: Any) -> Any:
    return deque(msgspec.convert(value, list[kind.__args__], dec_hook=_special))


_DECODER = msgspec.msgpack.Decoder(Saved, dec_hook=_special)
