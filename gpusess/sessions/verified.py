"""How much of a mirror has been verified line by line, remembered beside it as one checksum over all of it.

Checking a million lines one by one takes most of the time of reading them; one checksum over the same bytes
takes a twentieth, and finds the same damage. Only long journals are remembered.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from pathlib import Path

from remote_agent.files import JOURNAL

FILE = "verified.json"
WORTH_IT = 32 << 20
"""Bytes from which on a journal is remembered."""
CHUNK = 1 << 18


def remembered(folder: Path) -> tuple[int, int]:
    """(length, CRC-32) of the bytes that were found whole; (0, 0) where nothing is remembered."""
    try:
        found = json.loads((folder / FILE).read_bytes())
        length, checksum = int(found["length"]), int(found["crc32"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0
    return (length, checksum) if (folder / JOURNAL).stat().st_size >= length else (0, 0)


def remember(folder: Path, length: int) -> None:
    """Note that the journal's first `length` bytes are whole lines without damage."""
    if length < WORTH_IT:
        return
    text = json.dumps({"length": length, "crc32": checksum(folder, length)})
    aside = folder / f".{FILE}.partial"
    with contextlib.suppress(OSError):  # a mirror on a read-only disk is verified again the next time
        aside.write_text(text)
        aside.rename(folder / FILE)


def checksum(folder: Path, length: int) -> int:
    """CRC-32 of the journal's first `length` bytes."""
    value, left = 0, length
    with (folder / JOURNAL).open("rb", buffering=0) as file:
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            value = zlib.crc32(chunk, value)
            left -= len(chunk)
    return value
