"""SSH connections with pinned host keys: run a command, stream gigabytes through one, notice a dead link.

A command that is given up is killed on the other side, since closing a channel does not end it there. Who
reconnects when, and what the commands mean, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import random
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import SSHPacketLogger

from gpusess.errors import CommandFailed, HostKeyMismatch, RemoteError, Unreachable
from gpusess.remote.bulk import shorten
from gpusess.remote.keys import Target, mint_keypair, pinned_keys, printable, ssh_argv
from gpusess.remote.process import RemoteProcess, broken_link

__all__ = [
    "Connection",
    "RemoteProcess",
    "RunResult",
    "Target",
    "backoff",
    "connect",
    "mint_keypair",
    "ssh_argv",
]

CHANNELS = 8
"""At a time on one connection. OpenSSH refuses the eleventh."""
KILL_CHANNELS = 2
WINDOW = 4 << 20
"""Bytes that may be on their way to us. With more, OpenSSH's server copies megabytes for each piece that it
sends over a long line."""
PACKET = 128 << 10
CHUNK = 256 << 10
KILL_SECONDS = 5.0
_MARK = b"gpusess-pid "
_CIPHERS = [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a command said and how it ended; a negative exit status is a signal's number."""

    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    exit_status: int


async def connect(target: Target, timeout: float = 15.0) -> Connection:
    """Connect and log in within `timeout` seconds.

    Raises HostKeyMismatch (another machine answers; nothing was sent), Unreachable (try again later) or
    RemoteError (the login was refused).
    """
    host_keys = pinned_keys(target)
    client_keys = [_client_key(path) for path in target.client_keys]
    try:
        async with asyncio.timeout(timeout):
            return Connection(await _open(target, host_keys, client_keys), target)
    except asyncssh.HostKeyNotVerifiable as error:
        raise _another_machine(target) from error
    except asyncssh.KeyExchangeFailed as error:
        if "host key" in str(error):
            raise _another_machine(target) from error
        raise RemoteError(f"{target}: no cipher in common: {printable(str(error))}") from error
    except asyncssh.PermissionDenied as error:
        raise RemoteError(f"{target} refused the login", "check the user name and the key") from error
    except (asyncssh.KeyImportError, asyncssh.ConfigParseError) as error:
        raise RemoteError(f"cannot connect to {target}: {printable(str(error))}", "check ~/.ssh") from error
    except TimeoutError as error:
        raise Unreachable(f"{target} did not answer within {timeout:g} s") from error
    except (OSError, asyncssh.Error) as error:
        raise Unreachable(f"{target} does not answer: {printable(str(error))}") from error


def _client_key(path: Path) -> asyncssh.SSHKey:
    try:
        return asyncssh.read_private_key(path)
    except asyncssh.KeyEncryptionError as error:
        hint = "add it to the agent (ssh-add) and name no identity"
        raise RemoteError(f"the key {path} needs its passphrase", hint) from error
    except (OSError, asyncssh.KeyImportError) as error:
        raise RemoteError(f"cannot read the key {path}: {error}") from error


async def _open(
    target: Target, host_keys: list[asyncssh.SSHKey], client_keys: list[asyncssh.SSHKey]
) -> asyncssh.SSHClientConnection:
    own = target.user_config
    connection = await asyncssh.connect(
        target.endpoint.host,
        target.endpoint.port,
        username=target.endpoint.user,
        known_hosts=(host_keys, [], []),
        config=() if own else None,
        client_keys=client_keys or (() if own else []),
        agent_path=() if own and not client_keys else None,
        ignore_encrypted=True,
        preferred_auth="publickey",
        gss_kex=False,
        gss_auth=False,
        agent_forwarding=False,
        x11_forwarding=False,
        request_pty=False,
        command=None,
        send_env=None,
        encryption_algs=_CIPHERS,
        compression_algs=["none"],
        keepalive_interval=5,
        keepalive_count_max=2,
    )
    _spare_padding(connection)
    return connection


def _spare_padding(connection: asyncssh.SSHClientConnection) -> None:
    """Send no empty packet before each packet: that is for ciphers of another kind (CBC)."""
    if not any(kind in str(connection.get_extra_info("send_cipher")) for kind in ("gcm", "chacha20")):
        return
    send = connection.send_packet

    def without_ignored(pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None) -> None:
        if pkttype != MSG_IGNORE:
            send(pkttype, *args, handler=handler)

    connection.send_packet = without_ignored  # type: ignore[method-assign]


def _another_machine(target: Target) -> HostKeyMismatch:
    return HostKeyMismatch(
        f"another machine answers at {target}: its host key is not the known one; nothing was sent",
        "if it is your own and was set up anew, remove its old key from known_hosts; trust no rented one",
    )


class Connection:
    """One SSH connection; all its methods may be used at the same time."""

    def __init__(self, connection: asyncssh.SSHClientConnection, target: Target) -> None:
        self._connection = connection
        self._write = shorten(connection)
        self.target = target
        self._channels = asyncio.Semaphore(CHANNELS)
        self._killers = asyncio.Semaphore(KILL_CHANNELS)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, command: str, input: bytes | None = None, timeout: float | None = None) -> RunResult:
        """Run a shell command to its end and collect what it says.

        Raises CommandFailed after `timeout` seconds, with the command killed, and Unreachable when the link
        breaks. A non-zero exit status is a result, not an error.
        """
        try:
            async with asyncio.timeout(timeout), self.open_process(command) as process:
                feeding = asyncio.create_task(_feed(process, [input or b""]))
                try:
                    stdout, stderr = await asyncio.gather(
                        process.stdout.read_all(), process.stderr.read_all()
                    )
                    status = await process.wait()
                finally:
                    feeding.cancel()
                return RunResult(stdout, stderr, status)
        except TimeoutError as error:
            raise CommandFailed(
                f"no end within {timeout:g} s on {self.target}: {printable(command, 120)}"
            ) from error

    async def check(self, command: str, input: bytes | None = None, timeout: float | None = None) -> bytes:
        """The stdout of a command that must succeed. Raises CommandFailed with the end of its stderr."""
        result = await self.run(command, input, timeout)
        if result.exit_status != 0:
            raise _failed(self.target, command, result.exit_status, result.stderr)
        return result.stdout

    async def upload(
        self, source: AsyncIterator[bytes] | Iterable[bytes], command: str, timeout: float | None = None
    ) -> RunResult:
        """Stream bytes into a command's stdin, no faster than it reads. Raises as `check` does."""
        try:
            async with asyncio.timeout(timeout), self.open_process(command) as process:
                reading = asyncio.gather(process.stdout.read_all(), process.stderr.read_all())
                with suppress(CommandFailed):  # It ended early: its status and stderr say why.
                    await _feed(process, source, strict=True)
                stdout, stderr = await reading
                result = RunResult(stdout, stderr, await process.wait())
        except TimeoutError as error:
            raise CommandFailed(
                f"no end within {timeout:g} s on {self.target}: {printable(command, 120)}"
            ) from error
        if result.exit_status != 0:
            raise _failed(self.target, command, result.exit_status, result.stderr)
        return result

    @asynccontextmanager
    async def open_process(self, command: str) -> AsyncIterator[RemoteProcess]:
        """A command with raw bytes on its streams. It is killed if it still runs when the block is left."""
        async with self._channels:
            process = await self._start(command)
            try:
                yield process
            finally:
                if process.exit_status is None and not self.closed:
                    self._kill_later(process.pid)
                process.close()

    async def _start(self, command: str) -> RemoteProcess:
        # sshd gives a command its own process group; its number is said first, past what a shell's rc prints.
        wrapped = f"exec /bin/sh -c 'echo {_MARK.decode()}$$; exec /bin/sh -c \"$0\"' {shlex.quote(command)}"
        with broken_link(self.target):
            opened = await self._connection.create_process(
                wrapped, encoding=None, window=WINDOW, max_pktsize=PACKET
            )
        process = RemoteProcess(opened, self.target, self._write)
        try:
            while line := await process.stdout.readline():
                if line.startswith(_MARK):
                    process.pid = int(line[len(_MARK) :])
                    return process
            raise _failed(self.target, command, await process.wait(), await process.stderr.read_all())
        except BaseException:
            process.close()
            raise

    def _kill_later(self, pid: int) -> None:
        task = asyncio.get_running_loop().create_task(self._kill(pid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _kill(self, pid: int) -> None:
        """TERM, then KILL to the command's process group, on a channel of its own."""
        group = f"-- -{pid}"
        tries = f"for i in 1 2 3 4 5 6 7 8 9 10; do kill -s 0 {group} || exit 0; sleep 0.1; done"
        command = f"kill -s TERM {group}; {tries}; kill -s KILL {group}"
        with suppress(TimeoutError, OSError, asyncssh.Error):  # The link is dead: then so are its pipes.
            async with self._killers, asyncio.timeout(KILL_SECONDS):
                await self._connection.run(f"/bin/sh -c {shlex.quote(command)}", check=False)

    @property
    def closed(self) -> bool:
        return self._connection.is_closed()

    async def wait_closed(self) -> None:
        """Until the link is closed or found dead (within 15 s of silence)."""
        await self._connection.wait_closed()

    async def close(self) -> None:
        """Say goodbye; gives up waiting for a dead link after a moment."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=KILL_SECONDS)
        self._connection.close()
        try:
            async with asyncio.timeout(2.0):
                await self._connection.wait_closed()
        except TimeoutError:
            self._connection.abort()

    def abort(self) -> None:
        """Drop the link at once, without a word to the other side."""
        self._connection.abort()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


async def _feed(
    process: RemoteProcess, source: AsyncIterator[bytes] | Iterable[bytes], strict: bool = False
) -> None:
    try:
        if isinstance(source, AsyncIterator):
            async for block in source:
                await process.write(block)
        else:
            for block in source:
                for start in range(0, len(block), CHUNK):
                    await process.write(block[start : start + CHUNK])
        process.end_input()
    except CommandFailed:
        if strict:
            raise


def _failed(target: Target, command: str, status: int, stderr: bytes) -> CommandFailed:
    said = printable(b" | ".join(stderr.strip().splitlines()[-5:]))
    ending = f"signal {-status}" if status < 0 else f"exit status {status}"
    return CommandFailed(f"{printable(command, 120)} on {target}: {ending}" + (f": {said}" if said else ""))


def backoff(chance: random.Random, first: float = 0.5, most: float = 30.0) -> Iterator[float]:
    """Seconds to wait before each further try, for ever: 0.5, 1, 2, … up to 30, each ±25%."""
    wait = first
    while True:
        yield wait * chance.uniform(0.75, 1.25)
        wait = min(wait * 2, most)
