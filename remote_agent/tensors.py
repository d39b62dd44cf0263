"""Files of tensors as differences to their predecessors: what a safetensors file holds, and pieces of the new
file that the old one helps to say. Lossless: the bits that differ (exclusive or) are split into byte planes
and compressed, with `zstandard` where both sides have it, else with the standard library. The sending side
takes NumPy for the bits where it has it. Applying the pieces is the other side's part; nothing is sent here.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

CHUNK = 1 << 20
"""Bytes of the file in one piece. Small, so that whoever shares the interpreter waits for 3 ms at most."""
HEADER_LIMIT = 100_000_000
"""Bytes of a safetensors header; the format's own limit."""
WORTH = 0.9
"""A difference that takes more than this share of the bytes is not sent as one."""
WORKERS = 2
"""Threads that compress; they are ahead of the line by a few pieces."""
PROBE = 32 << 20
"""Bytes after which a file whose differences were not worth it is sent as it is."""

WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip

STORED, DIFFERENCE = 0, 1
ZEROS, PLAIN, DEFLATED, ZSTANDARD = 0, 1, 2, 3
PLANE = struct.Struct("<BI")

try:
    ZSTANDARD_MODULE: Any = importlib.import_module("zstandard")
except ImportError:
    ZSTANDARD_MODULE = None
HAS_ZSTANDARD = ZSTANDARD_MODULE is not None


_AT_ONCE = 32 << 10


class NotTensors(Exception):
    """Not a safetensors file, or one that contradicts itself; the message says how."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor's bytes stand in its file."""

    start: int
    end: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of a new file, in order."""

    start: int
    end: int
    base: int | None = None
    """Where the same tensor's bytes stand in the old file; None: nowhere."""
    width: int = 1
    """Bytes of one element."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes of the new file: the payload itself, or the payload applied to the old file's bytes."""

    kind: int
    width: int
    base: int
    length: int
    payload: bytes


# --- safetensors ---------------------------------------------------------------------------------------


def layout(fd: int) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name. The file is read no further than its header.

    Source of the format: 8 bytes with the header's length N (little endian), N bytes of JSON, the data.
    Raises NotTensors.
    """
    size = os.fstat(fd).st_size
    head = os.pread(fd, 8, 0)
    if len(head) < 8:
        raise NotTensors("too short")
    length = int.from_bytes(head, "little")
    if not 2 <= length <= min(HEADER_LIMIT, size - 8):
        raise NotTensors(f"a header of {length} bytes in a file of {size}")
    try:
        header = json.loads(os.pread(fd, length, 8))
    except (ValueError, RecursionError) as exc:
        raise NotTensors("the header is no JSON") from exc
    if not isinstance(header, dict):
        raise NotTensors("the header is no object")
    tensors = {
        name: _tensor(name, entry, 8 + length, size)
        for name, entry in header.items()
        if name != "__metadata__"
    }
    _refuse_overlaps(tensors)
    return tensors


def _tensor(name: str, entry: Any, data: int, size: int) -> Tensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as exc:
        raise NotTensors(f"{name[:80]!r} has no dtype, shape and offsets") from exc
    numbers = [begin, end, *(shape if isinstance(shape, list) else [None])]
    if not isinstance(dtype, str) or not all(type(n) is int and n >= 0 for n in numbers):
        raise NotTensors(f"{name[:80]!r} has a dtype, shape or offsets that make no sense")
    if not begin <= end <= size - data:
        raise NotTensors(f"{name[:80]!r} reaches beyond the file's end")
    if dtype in WIDTHS and math.prod(shape) * WIDTHS[dtype] != end - begin:
        raise NotTensors(f"{name[:80]!r} has not the bytes that its shape needs")
    return Tensor(data + begin, data + end, dtype)


def _refuse_overlaps(tensors: dict[str, Tensor]) -> None:
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start < at and tensor.end > tensor.start:
            raise NotTensors(f"{name[:80]!r} overlaps another tensor")
        at = max(at, tensor.end)


def segments(new: dict[str, Tensor], old: dict[str, Tensor], size: int) -> Iterator[Segment]:
    """All of a new file of `size` bytes: tensors beside their former selves, and what lies between."""
    at = 0
    for name, tensor in sorted(new.items(), key=lambda item: item[1].start):
        before = old.get(name)
        if before is None or before.dtype != tensor.dtype or tensor.end == tensor.start:
            continue
        if before.end - before.start != tensor.end - tensor.start:
            continue
        if tensor.start > at:
            yield Segment(at, tensor.start)
        yield Segment(tensor.start, tensor.end, before.start, WIDTHS.get(tensor.dtype, 1))
        at = tensor.end
    if at < size:
        yield Segment(at, size)


# --- sending side --------------------------------------------------------------------------------------


def pieces(new: int, old: int | None, offset: int = 0, zstandard: bool = HAS_ZSTANDARD) -> Iterator[Piece]:
    """The file behind the descriptor `new` from `offset` on, said by the file behind `old` where that pays.

    A file that is no safetensors comes as it is. `zstandard`: whether the other side reads that. Raises
    EOFError where a file becomes shorter meanwhile.
    """
    size = os.fstat(new).st_size
    codec = ZSTANDARD if zstandard and HAS_ZSTANDARD else DEFLATED
    worth = _Worth()
    with ThreadPoolExecutor(WORKERS) as pool:
        ahead: deque[Future[Piece]] = deque()
        for start, length, part in _cut(_parts(new, old, size), offset):
            if old is None or part.base is None or not worth.it:
                ahead.append(pool.submit(_stored, new, start, length))
            else:
                base = part.base + start - part.start
                ahead.append(pool.submit(_difference, new, old, start, base, length, part.width, codec))
            if len(ahead) > 2 * WORKERS:
                yield worth.seen(ahead.popleft().result())
        while ahead:
            yield worth.seen(ahead.popleft().result())


class _Worth:
    """Whether differences have paid so far."""

    def __init__(self) -> None:
        self._length = self._sent = 0

    @property
    def it(self) -> bool:
        return self._length < PROBE or self._sent < WORTH * self._length

    def seen(self, piece: Piece) -> Piece:
        self._length += piece.length
        self._sent += len(piece.payload)
        return piece


def _parts(new: int, old: int | None, size: int) -> list[Segment]:
    if old is not None:
        with contextlib.suppress(NotTensors):
            return list(segments(layout(new), layout(old), size))
    return [Segment(0, size)]


def _cut(parts: Iterable[Segment], offset: int) -> Iterator[tuple[int, int, Segment]]:
    """(start, length, segment) of each piece from `offset` on. One that begins in the middle has no base."""
    for part in parts:
        for start in range(part.start, part.end, CHUNK):
            end = min(start + CHUNK, part.end)
            if start >= offset:
                yield start, end - start, part
            elif end > offset:
                yield offset, end - offset, Segment(offset, end)


def _stored(fd: int, start: int, length: int) -> Piece:
    return Piece(STORED, 1, 0, length, read_exactly(fd, length, start))


def _difference(new: int, old: int, start: int, base: int, length: int, width: int, codec: int) -> Piece:
    data = read_exactly(new, length, start)
    before = read_exactly(old, length, base)
    if data == before:
        return Piece(DIFFERENCE, width, base, length, PLANE.pack(ZEROS, 0) * width)
    payload = b"".join(_compressed(plane, codec) for plane in _planes(data, before, width))
    if len(payload) > WORTH * length:
        return Piece(STORED, 1, 0, length, data)
    return Piece(DIFFERENCE, width, base, length, payload)


def _planes(one: bytes, other: bytes, width: int) -> list[bytes]:
    """The bits in which two byte strings differ: of each element the first bytes, the second ones, …"""
    numpy = _numpy()
    if numpy is None:
        bits = xor(one, other)
        return [bits[plane::width] for plane in range(width)]
    found = numpy.frombuffer(one, "u1") ^ numpy.frombuffer(other, "u1")
    return [found[plane::width].tobytes() for plane in range(width)]


@cache
def _numpy() -> Any:
    """NumPy, several times as fast as whole numbers; None where it is not, or does not load."""
    try:
        return importlib.import_module("numpy")
    except (ImportError, OSError):
        return None


def xor(one: bytes | bytearray, other: bytes) -> bytes:
    """The bits in which two byte strings of one length differ."""
    # As whole numbers, which the interpreter's own loops take: of a size that stays in the processor's cache.
    here, there, found = memoryview(one), memoryview(other), []
    for start in range(0, len(one), _AT_ONCE):
        a, b = here[start : start + _AT_ONCE], there[start : start + _AT_ONCE]
        bits = int.from_bytes(a, "little") ^ int.from_bytes(b, "little")
        found.append(bits.to_bytes(len(a), "little"))
    return b"".join(found)


def _compressed(plane: bytes, codec: int) -> bytes:
    if not plane.strip(b"\0"):
        return PLANE.pack(ZEROS, 0)
    if codec == ZSTANDARD:
        data: bytes = ZSTANDARD_MODULE.ZstdCompressor(level=1).compress(plane)
    else:
        # Differences are runs of zeros and noise: searching for longer matches takes time and finds none.
        stream = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
        data = stream.compress(plane) + stream.flush()
    if len(data) >= len(plane):
        return PLANE.pack(PLAIN, len(plane)) + plane
    return PLANE.pack(codec, len(data)) + data


def read_exactly(fd: int, length: int, offset: int) -> bytes:
    """Bytes of a file that must be there. Raises EOFError where they are not."""
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise EOFError(f"{length} bytes were expected at {offset}")
        data += more
    return data
