"""A file as blocks of 1 MiB, each named by its BLAKE3 hash, and the identity of a file that follows from it.

A file of one block has the hash of its bytes as its identity; a longer one the hash of its blocks' hashes, so
that its blocks can be hashed, sent and verified apart from each other and in any order.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from blake3 import blake3

BLOCK = 1 << 20
"""Bytes of a block; the last one of a file may be shorter."""
DIGEST = 32
UNKNOWN = bytes(DIGEST)
"""Stands for a block that is not there."""
THREADS = min(4, os.cpu_count() or 1)
"""Blocks that are hashed at once; hashing lets other threads run."""
_MANY = b"gpusess blocks 2\n"


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """The name of these bytes."""
    return blake3(data).digest()


def count(size: int) -> int:
    """How many blocks a file of that size has."""
    return -(-size // BLOCK)


def length(size: int, index: int) -> int:
    """Bytes of one block of a file of that size."""
    return min(BLOCK, size - index * BLOCK)


def identity(digests: Sequence[bytes]) -> str:
    """The identity (hex) of the file that has these blocks."""
    if len(digests) <= 1:
        return digests[0].hex() if digests else digest(b"").hex()
    return digest(_MANY + b"".join(digests)).hex()


def split(joined: bytes) -> list[bytes]:
    """Digests that were sent joined. Raises ValueError."""
    if len(joined) % DIGEST:
        raise ValueError("not a list of digests")
    return [joined[start : start + DIGEST] for start in range(0, len(joined), DIGEST)]


def read_block(handle: int, index: int, size: int) -> bytes:
    """One block of an open file that had `size` bytes; shorter where the file has become shorter."""
    wanted = length(size, index)
    data = os.pread(handle, wanted, index * BLOCK)
    while len(data) < wanted and (more := os.pread(handle, wanted - len(data), index * BLOCK + len(data))):
        data += more
    return data


def digests(handle: int, size: int) -> list[bytes]:
    """The digests of all blocks of an open file; UNKNOWN for those that are holes."""
    there = set(_data_blocks(handle, size))

    def one(index: int) -> bytes:
        return digest(read_block(handle, index, size)) if index in there else UNKNOWN

    if len(there) <= 1:
        return [one(index) for index in range(count(size))]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(count(size))))


def _data_blocks(handle: int, size: int) -> Iterator[int]:
    """The blocks in which anything was ever written: a part that was begun is mostly a hole."""
    at = done = 0
    while at < size:
        try:
            start = os.lseek(handle, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            yield from range(done, count(size))  # this file system does not tell
            return
        at = min(os.lseek(handle, start, os.SEEK_HOLE), size)
        yield from range(max(done, start // BLOCK), count(at))
        done = count(at)
