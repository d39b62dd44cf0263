"""Checkpoints on their way home: which ones a run has, and one file of them as differences to another."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remote_agent import checkpoints, tensors
from remote_agent.manifest import to_value
from remote_agent.syncing.frames import Header
from remote_agent.syncing.store import Refused


def manifests(run: Path) -> list[dict[str, Any]]:
    """The manifests of the run's whole checkpoints, in order of their steps."""
    return [to_value(made) for made in checkpoints.whole(run)]


def send_pieces(new: Path, old: Path | None, header: Header, send: Callable[[Header, bytes], None]) -> None:
    """Send a file from `offset` on, in its order; `old` may help to say it. The last answer holds its size.

    Raises Refused.
    """
    source = _open(new)
    try:
        base = None if old is None else _open(old)
        try:
            zstandard = bool(header.get("zstandard"))
            for piece in tensors.pieces(source, base, int(header.get("offset", 0)), zstandard):
                facts = {"kind": piece.kind, "width": piece.width, "base": piece.base, "length": piece.length}
                send({"more": True, **facts}, piece.payload)
        except EOFError as error:
            raise Refused("changed", f"{new} or {old} was cut off while it was read: {error}") from None
        finally:
            if base is not None:
                os.close(base)
        send({"size": os.fstat(source).st_size}, b"")
    finally:
        os.close(source)


def _open(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise Refused("missing", f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused("wrong", f"{path} is no file")
    return handle
