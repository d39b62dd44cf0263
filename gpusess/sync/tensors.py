"""A file put together from pieces, some said by its predecessor: the other side of `remote_agent.tensors`.

The pieces come from a machine that may lie: each is checked before it takes memory. That the file is the
right one is seen from its hash, elsewhere.
"""

from __future__ import annotations

import os
import zlib

from remote_agent.tensors import (
    CHUNK,
    DEFLATED,
    DIFFERENCE,
    HAS_ZSTANDARD,
    PLAIN,
    PLANE,
    STORED,
    ZEROS,
    ZSTANDARD,
    ZSTANDARD_MODULE,
    Piece,
    read_exactly,
    xor,
)

FEW = 200
"""Where fewer than one byte in so many differs, each is changed alone: high bytes of numbers hardly move."""
_MARKED = b"\0" + b"\1" * 255
"""What `translate` makes a byte: bytes of one kind are found fastest."""


class BadPiece(Exception):
    """A piece that cannot be what its sender says."""


def apply(piece: Piece, old: int | None, old_size: int) -> bytes | bytearray:
    """The bytes of the new file that a piece says. Raises BadPiece, before it takes memory for a lie."""
    if not 0 < piece.length <= CHUNK:
        raise BadPiece(f"a piece of {piece.length} bytes")
    if piece.kind == STORED:
        if len(piece.payload) != piece.length:
            raise BadPiece(f"{len(piece.payload)} bytes that should be {piece.length}")
        return piece.payload
    if piece.kind != DIFFERENCE or old is None or piece.width not in (1, 2, 4, 8):
        raise BadPiece(f"a piece of kind {piece.kind} and width {piece.width}")
    if piece.length % piece.width or not 0 <= piece.base <= old_size - piece.length:
        raise BadPiece("a difference to bytes that are not there")
    data = bytearray(piece.length)
    if os.preadv(old, [data], piece.base) < piece.length:
        data[:] = read_exactly(old, piece.length, piece.base)
    at = 0
    for plane in range(piece.width):
        if at + PLANE.size > len(piece.payload):
            raise BadPiece("planes are missing")
        codec, size = PLANE.unpack_from(piece.payload, at)
        at += PLANE.size
        packed = piece.payload[at : at + size]
        at += size
        if codec != ZEROS:
            _flip(data, plane, piece.width, _decompressed(packed, codec, piece.length // piece.width))
    return data


def _flip(data: bytearray, plane: int, width: int, bits: bytes) -> None:
    """Change these bits of one byte of each element."""
    if len(bits) - bits.count(0) > len(bits) // FEW:
        data[plane::width] = xor(data[plane::width], bits)
        return
    marked, at = bits.translate(_MARKED), -1
    while (at := marked.find(1, at + 1)) >= 0:
        data[plane + width * at] ^= bits[at]


def _decompressed(data: bytes, codec: int, size: int) -> bytes:
    plane = b""
    if codec == PLAIN:
        plane = data
    elif codec == DEFLATED:
        try:
            plane = zlib.decompressobj(-15).decompress(data, size)
        except zlib.error as exc:
            raise BadPiece(f"a plane is damaged: {exc}") from exc
    elif codec == ZSTANDARD and HAS_ZSTANDARD:
        plane = _unzstd(data, size)
    if len(plane) != size:
        raise BadPiece(f"a plane has not its {size} bytes")
    return plane


def _unzstd(data: bytes, size: int) -> bytes:
    try:
        # What the frame says of itself is asked first: a lie would be allocated.
        if ZSTANDARD_MODULE.frame_content_size(data) != size:
            raise BadPiece("a plane of another size")
        plane: bytes = ZSTANDARD_MODULE.ZstdDecompressor().decompress(data)
    except ZSTANDARD_MODULE.ZstdError as exc:
        raise BadPiece(f"a plane is damaged: {exc}") from exc
    return plane
