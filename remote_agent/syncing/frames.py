"""What goes over a sync channel: frames of one JSON line and as many bytes as it says, in both directions.

`{"op":"block","id":7,"n":1048576}` and the bytes. An answer carries the `id` of what it answers. Long lists
are payloads too, compressed with a codec that both sides have; the agent names its own in its first frame.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

from remote_agent.syncing.blocks import BLOCK

VERSION = 2
HEADER_LIMIT = 64 * 1024
"""Bytes of a frame's line."""
PAYLOAD_LIMIT = 256 * 1024 * 1024
"""Bytes of a frame's payload, and of what it expands to, on the way to an instance."""
LIST_LIMIT = 32 * 1024 * 1024
"""The same of a list on its way home, where nothing that an instance says is believed."""
BLOCK_LIMIT = BLOCK + (BLOCK >> 6)
"""The same of a block or piece: one that does not compress may become a little longer."""
ITEMS_LIMIT = 1_000_000
"""Entries of a list on its way home."""
LEVEL = 3

Header = dict[str, Any]


class BadFrame(Exception):
    """What came is no frame: the two sides do not understand each other."""


def encode(header: Header, payload: bytes | memoryview = b"") -> bytes:
    """The line of a frame whose payload follows."""
    full = {**header, "n": len(payload)} if len(payload) else header
    return json.dumps(full, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> tuple[Header, int]:
    """A frame's header, and how many bytes follow it. Raises BadFrame."""
    if len(line) > HEADER_LIMIT:
        raise BadFrame(f"a line of {len(line)} bytes")
    try:
        header = json.loads(line)
        size = header.get("n", 0)
    except (ValueError, AttributeError, RecursionError):
        raise BadFrame(f"no frame: {line[:80]!r}") from None
    if type(size) is not int or not 0 <= size <= PAYLOAD_LIMIT:
        raise BadFrame(f"a frame of {size!r} bytes")
    return header, size


Codec = tuple[Callable[[bytes], bytes], Callable[[bytes, int], bytes]]
"""Compress; expand to at most so many bytes (raises BadFrame)."""


def _zstd() -> Codec | None:
    try:
        import zstandard
    except ImportError:
        return None

    own = threading.local()

    def press(data: bytes) -> bytes:
        try:
            presser = own.presser
        except AttributeError:  # Making one takes longer than pressing a sample; a thread may keep its own.
            presser = own.presser = zstandard.ZstdCompressor(level=LEVEL)
        pressed: bytes = presser.compress(data)
        return pressed

    def expand(data: bytes, limit: int) -> bytes:
        try:
            # The frame says how long it is; what says more than the limit is not expanded.
            if not 0 <= zstandard.frame_content_size(data) <= limit:
                raise BadFrame("a payload that is too long")
            return zstandard.ZstdDecompressor().decompress(data)
        except zstandard.ZstdError as error:
            raise BadFrame(f"a payload that cannot be expanded ({error})") from None

    return press, expand


def _zlib_press(data: bytes) -> bytes:
    return zlib.compress(data, 1)


def _zlib_expand(data: bytes, limit: int) -> bytes:
    worker = zlib.decompressobj()
    try:
        out = worker.decompress(data, limit + 1)
    except zlib.error as error:
        raise BadFrame(f"a payload that cannot be expanded ({error})") from None
    if not worker.eof or len(out) > limit:
        raise BadFrame("a payload that is cut off or too long")
    return out


def _as_it_is(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise BadFrame("a payload that is too long")
    return bytes(data)


@cache
def codecs() -> dict[str, Codec]:
    """Name → (compress, expand), the better ones first."""
    zstd = _zstd()
    plain: dict[str, Codec] = {"zlib": (_zlib_press, _zlib_expand), "none": (bytes, _as_it_is)}
    return {"zstd": zstd, **plain} if zstd else plain


def read_list(header: Header, payload: bytes) -> list[Any]:
    """The list that an answer holds. Raises BadFrame, before a lie takes memory."""
    name = header.get("codec")
    codec = codecs().get(name) if isinstance(name, str) else None
    if codec is None:
        raise BadFrame("a list in no codec that is known here")
    text = codec[1](payload, LIST_LIMIT)
    if text.count(b"[") + text.count(b"{") > ITEMS_LIMIT:
        raise BadFrame(f"a list of more than {ITEMS_LIMIT} entries")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("a list that is no JSON") from None
    if not isinstance(value, list):
        raise BadFrame("no list")
    return value


def squeeze(data: bytes, codec: str) -> tuple[str, bytes]:
    """A block as it is sent, compressed where a sample of it says that this pays; the codec's name first."""
    if codec == "none":
        return "none", data
    press = codecs()[codec][0]
    step = max(1, len(data) // _SAMPLES)
    sample = b"".join(data[at : at + _SAMPLE] for at in range(0, len(data), step))
    if len(press(sample)) > _WORTH * len(sample):
        return "none", data
    return codec, press(data)


_SAMPLES, _SAMPLE = 4, 4096
"""Pieces of a block that are tried, and their bytes."""
_WORTH = 0.9


def read_into(handle: int, buffer: bytearray, start: int) -> None:
    """Fill `buffer` from `start` on from a pipe. Raises EOFError."""
    view = memoryview(buffer)
    while start < len(buffer):
        more = os.readv(handle, [view[start:]])
        if not more:
            raise EOFError
        start += more
