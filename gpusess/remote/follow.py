"""Following a run: what its files gain on the instance is appended to their mirrors here, byte for byte.

The mirror's length is all that is kept in step. Reconnecting is asking again from there; a mirror that is
not the beginning of the original any more is set aside, never overwritten.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpusess.errors import CommandFailed, RemoteError, SyncError, Unreachable
from gpusess.remote.agent import Agent, run_folder
from gpusess.remote.keys import printable
from gpusess.remote.ssh import Connection, RemoteProcess
from remote_agent.follow import JOURNALS, LOGS, tail_sha

SILENCE_LIMIT = 14.0
"""Seconds without a byte after which the link counts as dead; the agent pings every 3 s."""
FRAME_LIMIT = 1 << 20


class Diverged(RemoteError):
    """The mirror is not the beginning of the original."""


class Mirror:
    """The writing side of a run's mirror: append-only copies of its files. One process writes it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._fds = self._open()

    def length(self, name: str) -> int:
        return os.fstat(self._fds[name]).st_size

    def request(self) -> bytes:
        """What is here, as the agent's `follow` reads it."""
        files = {name: {"offset": self.length(name), "sha": self._sha(name)} for name in self._fds}
        return json.dumps({"files": files}).encode() + b"\n"

    def append(self, name: str, offset: int, data: bytes | bytearray) -> None:
        """Append what begins at `offset`; refuses anything that would not make an identical copy."""
        if name not in self._fds:
            raise SyncError(f"the instance sent a file that was not asked for: {printable(name, 80)}")
        if offset != self.length(name):
            raise SyncError(f"{self.folder / name}: {self.length(name)} bytes, but bytes from {offset} came")
        try:
            self._write(self._fds[name], data)
        except OSError as exc:
            os.ftruncate(self._fds[name], offset)
            raise SyncError(
                f"{self.folder / name}: {exc.strerror}",
                "make room on this disk; nothing is lost on the instance",
            ) from exc

    def sync(self) -> None:
        """Make the mirror durable: before the original may go."""
        for fd in self._fds.values():
            os.fdatasync(fd)

    def set_aside(self) -> Path:
        """Move the copies away and begin anew; returns where they are now."""
        aside = self.folder / f"diverged-{int(time.time())}"
        aside.mkdir()
        self.close()
        for name in self._fds:
            (self.folder / name).rename(aside / name)
        self._fds = self._open()
        return aside

    def cut_partial_lines(self, names: Iterable[str] = JOURNALS) -> None:
        """Drop what a broken link left of a line, before these files go to a new instance."""
        for name in names:
            os.ftruncate(self._fds[name], _last_line_end(self._fds[name]))

    def content(self, name: str) -> Iterator[bytes]:
        """A file's bytes as they are now, piece by piece."""
        end, at = self.length(name), 0
        while at < end:
            piece = os.pread(self._fds[name], min(FRAME_LIMIT, end - at), at)
            at += len(piece)
            yield piece

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)

    def _open(self) -> dict[str, int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return {name: os.open(self.folder / name, flags, 0o600) for name in JOURNALS + LOGS}

    def _sha(self, name: str) -> str:
        return tail_sha(self.folder / name, self.length(name))

    @staticmethod
    def _write(fd: int, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


def _last_line_end(fd: int) -> int:
    """The offset behind the last newline; 0 where there is none."""
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - FRAME_LIMIT)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


async def follow(
    connection: Connection,
    agent: Agent,
    run: str,
    mirror: Mirror,
    on_bytes: Callable[[], None],
    on_checkpoints: Callable[[], None] = lambda: None,
) -> None:
    """Append what comes until cancelled; `on_bytes` is called after each frame, `on_checkpoints` when the
    run's checkpoints are others than before, and at the beginning where there are any.

    Raises Unreachable when the link breaks or is silent for too long, Diverged, SyncError.
    """
    async with connection.open_process(agent.command("follow", run_folder(run))) as process:
        with suppress(CommandFailed):  # The agent or the link is gone: the answer that does not come says so.
            await process.write(mirror.request())
        while True:
            header = await _header(process)
            if "f" in header:
                data = await _body(process, header)
                mirror.append(header["f"], header["o"], data)
                on_bytes()
            elif "checkpoints" in header:
                on_checkpoints()
            elif header.get("error") == "diverged":
                raise Diverged(printable(str(header.get("message", "")), 300))


async def _header(process: RemoteProcess) -> dict[str, Any]:
    try:
        async with asyncio.timeout(SILENCE_LIMIT):
            line = await process.stdout.readline()
    except TimeoutError:
        raise Unreachable(f"nothing was heard for {SILENCE_LIMIT:g} s") from None
    if not line.endswith(b"\n"):
        raise await _ended(process)
    try:
        header = json.loads(line)
    except ValueError:
        raise SyncError(f"the agent sent no frame: {printable(line, 120)}") from None
    if not isinstance(header, dict):
        raise SyncError(f"the agent sent no frame: {printable(line, 120)}")
    return header


async def _ended(process: RemoteProcess) -> RemoteError:
    said = ""
    if process.exit_status is not None:
        said = printable((await process.stderr.read_all())[-300:])
    return Unreachable(f"the stream ended{': ' + said if said else ''}")


async def _body(process: RemoteProcess, header: dict[str, Any]) -> bytearray:
    size = header.get("n")
    known = isinstance(header["f"], str) and isinstance(header.get("o"), int)
    if not known or not isinstance(size, int) or not 0 < size <= FRAME_LIMIT:
        raise SyncError(f"the agent sent a frame that makes no sense: {printable(str(header), 120)}")
    data = bytearray()
    try:
        while len(data) < size:
            # Each piece anew: a slow line is not a dead one.
            async with asyncio.timeout(SILENCE_LIMIT):
                piece = await process.stdout.read(size - len(data))
            if not piece:
                raise Unreachable("the stream ended in the middle of a frame")
            data += piece
    except TimeoutError:
        raise Unreachable(f"nothing was heard for {SILENCE_LIMIT:g} s in the middle of a frame") from None
    return data
