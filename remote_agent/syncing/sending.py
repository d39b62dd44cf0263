"""Files on their way home: what a folder holds, and the blocks of a file that the other side has not got."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from remote_agent.syncing import blocks
from remote_agent.syncing.frames import Header, squeeze
from remote_agent.syncing.store import Refused, Seen

AHEAD = 4
"""Blocks that are read, hashed and compressed before their turn."""

Send = Callable[[Header, bytes], None]


def listing(place: Path) -> list[list[Any]]:
    """A folder, or one file: [path, kind, size, mtime (ns), mode bits or a link's target] each.

    Kinds: file, link, folder, other. Nothing is followed but `place` itself. Raises Refused.
    """
    if place.is_file():
        return [_line(place.name, place.stat())]
    if not place.is_dir():
        raise Refused("missing", f"{place} does not exist on the instance")
    return sorted(_walk(str(place), ""), key=lambda line: os.fsencode(line[0]))


def _walk(folder: str, prefix: str) -> Iterator[list[Any]]:
    for entry in os.scandir(folder):
        path = prefix + entry.name
        found = entry.stat(follow_symlinks=False)
        if entry.is_symlink():
            yield [path, "link", 0, found.st_mtime_ns, os.readlink(entry.path)]  # noqa: PTH115
        else:
            yield _line(path, found)
            if entry.is_dir():
                yield from _walk(entry.path, f"{path}/")


def _line(path: str, found: os.stat_result) -> list[Any]:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    size = found.st_size if kind == "file" else 0
    return [path, kind, size, found.st_mtime_ns, stat.S_IMODE(found.st_mode)]


def send_blocks(place: Path, header: Header, held: bytes, send: Send) -> None:
    """Send the blocks `first` to `first + count` of a file, without those whose digest the other side sent.

    The first answer says size, time and inode, the last one whether the file was changed meanwhile. Blocks go
    in their order. Raises Refused.
    """
    handle = _open(place)
    try:
        found = os.fstat(handle)
        facts = {"size": found.st_size, "mtime": found.st_mtime_ns, "inode": found.st_ino}
        first, known = int(header.get("first", 0)), blocks.split(held)
        last = min(first + int(header["count"]), blocks.count(found.st_size))
        send({"more": True, **facts}, b"")
        codec = str(header.get("codec", "none"))
        for index, digest, name, data in _ahead(handle, found.st_size, range(first, last), known, codec):
            if data:
                send({"more": True, "i": index, "h": digest.hex(), "codec": name}, data)
        send({"changed": Seen.of(os.fstat(handle)) != Seen.of(found)}, b"")
    finally:
        os.close(handle)


Block = tuple[int, bytes, str, bytes]
"""Index, digest, codec, and the bytes; none where the other side has them."""


def _ahead(handle: int, size: int, wanted: range, known: list[bytes], codec: str) -> Iterator[Block]:
    def one(index: int) -> Block:
        data = blocks.read_block(handle, index, size)
        digest = blocks.digest(data)
        at = index - wanted.start
        if at < len(known) and known[at] == digest:
            return index, digest, "none", b""
        return index, digest, *squeeze(data, codec)

    with ThreadPoolExecutor(2) as pool:
        waiting: deque[Future[Block]] = deque()
        for index in wanted:
            waiting.append(pool.submit(one, index))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _open(place: Path) -> int:
    try:
        # O_NONBLOCK: a pipe must not make the program wait for ever.
        handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Refused("missing", f"{place} does not exist on the instance") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused("wrong", f"{place} is no file")
    return handle
