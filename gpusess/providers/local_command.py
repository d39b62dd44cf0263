"""One command or shell on a local instance: between an SSH channel and a process, over pipes or a terminal.

It behaves as OpenSSH's server does: the channel ends when the process has ended and its output is at its
end; a client that goes away closes the pipes and hangs up the process group; what detached itself goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import termios
from typing import Any, cast

import asyncssh

TERMINAL_DRAIN_SECONDS = 0.2
"""How long a terminal's output is waited for after its process has ended; a background job may hold it."""


class CommandSession(asyncssh.SSHServerSession[bytes]):
    """One SSH session channel. `environment` is all that the process sees, `home` its working folder."""

    def __init__(self, environment: dict[str, str], home: str) -> None:
        self._environment = dict(environment)
        self._home = home
        self._argv: list[str] = []
        self._terminal = -1
        self._process: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._outputs: list[asyncio.ReadTransport] = []
        self._early: list[bytes] = []
        self._at_eof = False
        self._gone = False
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan
        chan.set_write_buffer_limits(high=1 << 20)

    def pty_requested(self, term_type: str, term_size: Any, _term_modes: Any) -> bool:
        self._terminal, self._slave = os.openpty()
        self.terminal_size_changed(*term_size)
        self._environment["TERM"] = term_type or "dumb"
        return True

    def shell_requested(self) -> bool:
        self._argv = [self._environment["SHELL"], "-l"]
        return True

    def exec_requested(self, command: str) -> bool:
        self._argv = ["/bin/sh", "-c", command]
        return True

    def session_started(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        try:
            if self._terminal >= 0:
                await self._start_on_terminal()
            else:
                await self._spawn(subprocess.PIPE)
        except OSError as error:
            self._chan.write(f"cannot start: {error.strerror}\n".encode(), asyncssh.EXTENDED_DATA_STDERR)
            self._chan.exit(126)
            return
        if self._gone:
            self._hang_up()
            return
        early, self._early = self._early, []
        for data in early:
            self.data_received(data, None)
        if self._at_eof:
            self.eof_received()

    async def _spawn(self, stream: int, **kwargs: Any) -> None:
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Child(self),
            *self._argv,
            stdin=stream,
            stdout=stream,
            stderr=stream,
            env=self._environment,
            cwd=self._home,
            start_new_session=True,
            **kwargs,
        )
        self._process = transport
        if stream == subprocess.PIPE:
            self._stdin = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
            self._outputs = [cast(asyncio.ReadTransport, transport.get_pipe_transport(fd)) for fd in (1, 2)]

    async def _start_on_terminal(self) -> None:
        loop = asyncio.get_running_loop()
        # Owned before the process starts, so that its first words have a reader.
        reader = os.fdopen(os.dup(self._terminal), "rb", buffering=0)
        writer = os.fdopen(os.dup(self._terminal), "wb", buffering=0)
        output, protocol = await loop.connect_read_pipe(lambda: _TerminalReader(self), reader)
        self._stdin, _ = await loop.connect_write_pipe(lambda: _TerminalWriter(self), writer)
        self._outputs = [output]
        self._terminal_end = protocol.ended
        try:
            await self._spawn(self._slave, preexec_fn=_take_terminal)
        finally:
            os.close(self._slave)

    # The client's side.

    def data_received(self, data: bytes, _datatype: asyncssh.DataType) -> None:
        if self._process is None:
            self._early.append(data)
        elif self._stdin is not None:
            self._stdin.write(data)

    def eof_received(self) -> bool:
        self._at_eof = True
        if self._process is not None and self._stdin is not None:
            if self._terminal >= 0:
                self._stdin.write(b"\x04")
            else:
                self._stdin.write_eof()
        return True

    def signal_received(self, signal: str) -> None:
        self._signal(signal)

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._terminal >= 0 and not self._gone:
            fcntl.ioctl(
                self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, pixwidth, pixheight)
            )

    def pause_writing(self) -> None:
        for output in self._outputs:
            if not output.is_closing():
                output.pause_reading()

    def resume_writing(self) -> None:
        for output in self._outputs:
            if not output.is_closing():
                output.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._gone = True
        self._hang_up()
        if self._terminal >= 0:
            os.close(self._terminal)
            if self._task is None:
                os.close(self._slave)

    # The process's side.

    def output(self, data: bytes, is_error: bool) -> None:
        # The client may have closed the channel a moment before we are told.
        if not self._gone and not self._chan.is_closing():
            self._chan.write(data, asyncssh.EXTENDED_DATA_STDERR if is_error else None)

    def stdin_full(self) -> None:
        self._chan.pause_reading()

    def stdin_free(self) -> None:
        # Later: the pipe's transport says so from within its own write, and an end of input that arrived
        # in there would make it close with bytes still in its buffer.
        asyncio.get_running_loop().call_soon(self._read_on)

    def stdin_closed(self) -> None:
        """The process reads no more: what still comes is thrown away, as a pipe's writer would be told."""
        self._stdin = None
        self._read_on()

    def _read_on(self) -> None:
        if not self._gone:
            self._chan.resume_reading()

    def ended(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._finish())

    async def _finish(self) -> None:
        if self._terminal >= 0:
            await asyncio.wait([self._terminal_end], timeout=TERMINAL_DRAIN_SECONDS)
            self._close_pipes()
        status = self._process.get_returncode() if self._process else None
        if self._gone:
            return
        if status is not None and status < 0:
            self._chan.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            self._chan.exit(status or 0)

    def _hang_up(self) -> None:
        if self._process is not None:
            self._signal("HUP")
            self._close_pipes()

    def _signal(self, name: str) -> None:
        number = getattr(signal, f"SIG{name}", None)
        if self._process is None or self._process.get_returncode() is not None or number is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.get_pid(), number)

    def _close_pipes(self) -> None:
        # A pipe that is closed already must not be closed again: its number may be another's by now.
        if self._stdin is not None and (not self._stdin.is_closing() or self._stdin.get_write_buffer_size()):
            self._stdin.abort()
        for output in self._outputs:
            output.close()


class _Child(asyncio.SubprocessProtocol):
    """What the event loop says about the process and its pipes."""

    def __init__(self, session: CommandSession) -> None:
        self._session = session

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._session.output(data, fd == 2)

    def pipe_connection_lost(self, fd: int, _exc: Exception | None) -> None:
        if fd == 0:
            self._session.stdin_closed()

    def pause_writing(self) -> None:
        self._session.stdin_full()

    def resume_writing(self) -> None:
        self._session.stdin_free()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._session.ended()


class _TerminalReader(asyncio.Protocol):
    def __init__(self, session: CommandSession) -> None:
        self._session = session
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._session.output(data, is_error=False)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class _TerminalWriter(asyncio.BaseProtocol):
    def __init__(self, session: CommandSession) -> None:
        self._session = session

    def pause_writing(self) -> None:
        self._session.stdin_full()

    def resume_writing(self) -> None:
        self._session.stdin_free()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._session.stdin_closed()


def _take_terminal() -> None:
    """In the child, after setsid: the terminal on its stdin becomes the controlling one."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
