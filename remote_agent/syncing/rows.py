"""A tree as a list of rows: its id, the difference of two lists, and what no list may hold.

Both sides compute with these; nothing here touches a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

from remote_agent.syncing.names import safe_link, safe_path
from remote_agent.syncing.store import Refused

LARGE = 4 << 20
"""Bytes from which on a file is sent by blocks."""

Row = tuple[str, str, int, str]
"""Path, mode (`file`, `exec`, `link`, `folder`), bytes, and identity or a link's target."""


def tree_id(rows: Iterable[Row]) -> str:
    """SHA-256 (hex) of the rows in their order: it changes if and only if something in the tree does."""
    return hashlib.sha256(json.dumps([list(row) for row in rows], separators=(",", ":")).encode()).hexdigest()


def ordered(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: os.fsencode(row[0]))


def difference(old: Iterable[Row], new: Iterable[Row]) -> tuple[list[Row], list[str]]:
    """What is to be set and what is gone, for `apply`."""
    before, after = {row[0]: row for row in old}, {row[0]: row for row in new}
    changed = [row for path, row in after.items() if before.get(path) != row]
    return changed, [path for path in before if path not in after]


def apply(old: Iterable[Row], changed: Iterable[Row], gone: Iterable[str]) -> list[Row]:
    """The new rows, in order: `apply(a, *difference(a, b))` is `b`."""
    rows = {row[0]: row for row in old}
    for path in gone:
        rows.pop(path, None)
    rows.update((row[0], row) for row in changed)
    return ordered(rows.values())


def check(rows: list[Row]) -> None:
    """Every path by itself, and that none lies below a file or link. Raises Refused."""
    files = {row[0] for row in rows if row[1] != "folder"}
    if len({row[0] for row in rows}) != len(rows):
        raise Refused("hostile", "a path is listed twice")
    for path, mode, _, content in rows:
        if not safe_path(path):
            raise Refused("hostile", f"{path!r} leads out of the folder")
        if mode == "link" and not safe_link(path, content):
            raise Refused("hostile", f"the link {path!r} leads out of the folder")
    for parent in {path.rpartition("/")[0] for path, *_ in rows}:
        while parent:
            if parent in files:
                raise Refused("hostile", f"{parent!r} is a file or link, and something lies below it")
            parent = parent.rpartition("/")[0]


def parse(value: Any) -> list[Row]:
    """Rows that came as JSON. Raises Refused."""
    try:
        rows = [(path, mode, size, content) for path, mode, size, content in value]
    except (TypeError, ValueError):
        raise Refused("wrong", "the list of files cannot be read") from None
    for path, mode, size, content in rows:
        right = isinstance(path, str) and isinstance(content, str) and type(size) is int and size >= 0
        if not right or mode not in ("file", "exec", "link", "folder"):
            raise Refused("wrong", "the list of files cannot be read")
    return rows
