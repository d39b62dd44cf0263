"""Folders on their way home. What an instance names is not trusted: nothing is written outside of the folder
here, no link is made that leads out of it, and devices, sockets and pipes stay where they are.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpusess.errors import SyncError
from gpusess.sync.progress import Progress
from gpusess.sync.pull import MARGIN, Pulled, pull_file
from gpusess.sync.tree import Skipped
from gpusess.sync.wire import Channels
from remote_agent.syncing import frames
from remote_agent.syncing.names import safe_link, safe_path

AT_ONCE = 128
"""Small files that are asked for at the same time: each one takes a round trip or two."""
SMALL = 4 << 20


@dataclass(slots=True)
class Fetched:
    """What came home."""

    files: list[Pulled] = field(default_factory=list)
    links: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def received(self) -> int:
        return sum(file.received for file in self.files)


async def fetch(remote: str, local: Path, channels: Channels, progress: Progress | None = None) -> Fetched:
    """Bring a folder, or one file, of the instance into the folder `local`. What is here beside it stays.

    Raises SyncError, Unreachable: the next call goes on where this one stopped.
    """
    try:
        return await _fetch(remote, local, channels, progress or Progress())
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError)
        hint = "move away what is there" if in_the_way else "what has come stays: the next fetch goes on"
        reason = (error.strerror or str(error)).lower()
        raise SyncError(f"{str(error.filename2 or error.filename or local)[:300]}: {reason}", hint) from error


async def _fetch(remote: str, local: Path, channels: Channels, progress: Progress) -> Fetched:
    first = await channels.channel(0)
    header, payload = await first.ask("list", path=remote)
    single = not header.get("folder")
    done = Fetched()
    files: list[tuple[str, str, int]] = []
    links: list[tuple[Path, str]] = []
    await asyncio.to_thread(local.mkdir, parents=True, exist_ok=True)
    for path, kind, size, _, extra in _lines(header, payload):
        reason = _refusal(local, path, kind, extra)
        if reason:
            done.skipped.append(Skipped(path, reason))
        elif kind == "folder":
            (local / path).mkdir(parents=True, exist_ok=True)
        elif kind == "link":
            links.append((local / path, str(extra)))
        else:
            files.append((remote if single else f"{remote}/{path}", path, size))
    await asyncio.to_thread(_check_room, local, files)
    progress.expect(sum(size for _, _, size in files))
    await _small([item for item in files if item[2] < SMALL], local, channels, progress, done)
    for source, path, size in files:
        if size >= SMALL:
            progress.expect(-size)  # `pull_file` expects it too
            done.files.append(await pull_file(source, local / path, channels, progress))
    for place, target in links:  # last, so that nothing was ever written through one
        _make_link(place, target)
        done.links += 1
    return done


def _check_room(local: Path, files: list[tuple[str, str, int]]) -> None:
    """Whether all files have room here that are not here in their size. Raises SyncError."""
    missing = 0
    for _, path, size in files:
        place = local / path
        missing += 0 if place.is_file() and place.stat().st_size == size else size
    found = os.statvfs(local)
    free = max(0, found.f_bavail * found.f_frsize - MARGIN)
    if missing > free:
        raise SyncError(
            f"{local}: {missing} bytes are to come, and this disk has room for {free}", "free some space here"
        )


async def _small(
    files: list[tuple[str, str, int]], local: Path, channels: Channels, progress: Progress, done: Fetched
) -> None:
    waiting = deque(files)

    async def work() -> None:
        while waiting:
            source, path, size = waiting.popleft()
            progress.expect(-size)
            done.files.append(await pull_file(source, local / path, channels, progress, durable=False))

    workers = [asyncio.create_task(work()) for _ in range(min(AT_ONCE, len(files)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _lines(header: dict[str, Any], payload: bytes) -> list[tuple[str, str, int, int, Any]]:
    """What the instance says is in the folder. Raises SyncError."""
    try:
        lines = frames.read_list(header, payload)
        found = [(path, kind, size, time, extra) for path, kind, size, time, extra in lines]
    except (ValueError, TypeError, frames.BadFrame) as error:
        hint = "fetch a part of the folder" if isinstance(error, frames.BadFrame) else ""
        raise SyncError(f"the agent's list of files cannot be read ({error!s:.80})", hint) from None
    if not all(isinstance(line[0], str) and type(line[2]) is int and line[2] >= 0 for line in found):
        raise SyncError("the agent's list of files cannot be read")
    return found


def _refusal(local: Path, path: str, kind: str, extra: object) -> str:
    """Why something the instance has does not come here; empty: it may."""
    if not safe_path(path):
        return "its name leads out of the folder"
    if kind not in ("file", "folder", "link"):
        return "a device, socket or pipe"
    if kind == "link" and not (isinstance(extra, str) and safe_link(path, extra)):
        return "a link that leads out of the folder"
    here = Path(os.path.realpath(local))
    if not Path(os.path.realpath((local / path).parent)).is_relative_to(here):
        return "a link here leads out of the folder"
    return ""


def _make_link(place: Path, target: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or not place.exists():
        place.unlink(missing_ok=True)
        place.symlink_to(target)
        return
    raise SyncError(f"{place}: is in the way of a link", "move it away")
