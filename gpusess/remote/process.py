"""A command that runs on an instance: its streams as raw bytes, its end, and what a broken link looks like.

`ssh.py` starts these; nothing here opens a channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncssh

from gpusess.errors import CommandFailed, Unreachable
from gpusess.remote.bulk import Write
from gpusess.remote.keys import Target, printable

OUTPUT_LIMIT = 64 << 20
"""Bytes of a command's output that are kept in memory."""


@contextmanager
def broken_link(target: Target) -> Iterator[None]:
    """Turn what the transport raises into Unreachable."""
    try:
        yield
    except (OSError, asyncssh.Error) as error:
        raise Unreachable(f"the connection to {target} broke: {printable(str(error))}") from error


class RemoteReader:
    """One output of a command. b"" is its end, or where the link broke: `RemoteProcess.wait` tells."""

    def __init__(self, reader: asyncssh.SSHReader[bytes], target: Target) -> None:
        self._reader = reader
        self._target = target

    async def read(self, most: int = -1) -> bytes:
        """What there is, `most` bytes at most; -1: all until the end."""
        with broken_link(self._target):
            return await self._reader.read(most)

    async def read_all(self) -> bytes:
        """All until the end. Raises CommandFailed where it is more than is kept in memory."""
        pieces: list[bytes] = []
        length = 0
        while piece := await self.read(1 << 18):
            length += len(piece)
            if length > OUTPUT_LIMIT:
                raise CommandFailed(f"a command on {self._target} said more than {OUTPUT_LIMIT >> 20} MiB")
            pieces.append(piece)
        return b"".join(pieces)

    async def readline(self) -> bytes:
        with broken_link(self._target):
            return await self._reader.readline()

    async def readexactly(self, size: int) -> bytes:
        """Raises asyncio.IncompleteReadError at the end."""
        with broken_link(self._target):
            return await self._reader.readexactly(size)


class RemoteProcess:
    """A running command; `pid` is also its process group.

    Both outputs share one window: who reads only stdout redirects the command's stderr, or it may block.
    """

    def __init__(
        self, process: asyncssh.SSHClientProcess[bytes], target: Target, write: Write, pid: int = 0
    ) -> None:
        self._process = process
        self._target = target
        self._write = write
        self.pid = pid
        self.stdout = RemoteReader(process.stdout, target)
        self.stderr = RemoteReader(process.stderr, target)

    async def write(self, data: bytes | memoryview) -> None:
        """Send to stdin, no faster than the command reads. Raises CommandFailed when it reads no more."""
        try:
            self._write(self._process.channel, memoryview(data))
            await self._process.stdin.drain()
        except (OSError, asyncssh.Error) as error:
            raise CommandFailed("the command stopped reading its input") from error

    def end_input(self) -> None:
        """The end of stdin."""
        with suppress(OSError):  # It ended already.
            self._process.stdin.write_eof()

    @property
    def exit_status(self) -> int | None:
        """None while it runs or when the link broke first; negative: a signal's number."""
        return self._process.returncode

    async def wait(self) -> int:
        """The exit status. Raises Unreachable when the link breaks first."""
        await self._process.wait_closed()
        status = self._process.returncode
        if status is None:
            raise Unreachable(f"the connection to {self._target} broke before the command ended")
        return status

    def close(self) -> None:
        """Close the streams. That alone does not end the command."""
        self._process.close()
