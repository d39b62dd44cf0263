"""The simulated instances' SSH servers: real ones, on addresses of this machine, each with a home of its own.

A command on one is a real process. What lives there is killed with the instance, however it was detached.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import psutil

from gpusess.providers.local_command import CommandSession
from tests.fake_cuda import library_folder

MARK = "SIMULATED_INSTANCE"
T = TypeVar("T")


@dataclass
class Host:
    """One SSH server. `connections` counts those that got as far as a host key."""

    id: str
    address: str
    port: int
    user: str
    server: asyncssh.SSHAcceptor
    home: Path
    open: set[asyncssh.SSHServerConnection]


def may_use_port_22() -> bool:
    """Whether servers of ours can be on port 22 of loopback addresses."""
    try:
        socket.create_server((f"127.5.0.{os.getpid() % 250 + 1}", 22)).close()
    except OSError:
        return False
    return True


class SshHosts:
    """All SSH servers of one simulated cloud, in a thread with a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts: dict[str, Host] = {}
        self._number = 0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def start(
        self,
        id: str,
        host_key: str | None,
        authorized: list[str],
        user: str,
        port_22: bool = False,
        image_key_first: float = 0.0,
        environment: dict[str, str] | None = None,
    ) -> Host:
        """A server that lets the holders of `authorized` in as `user`.

        host_key: the private half that it answers with; None: one that nobody knows.
        image_key_first: for so many seconds it answers with such a one, as before cloud-init has run.
        """
        self._number += 1
        address = f"127.5.{os.getpid() % 250 + 1}.{self._number % 250 + 1}" if port_22 else "127.0.0.1"
        given = environment or {}
        return self._do(
            self._start(
                id, host_key, authorized, user, (address, 22 if port_22 else 0), image_key_first, given
            )
        )

    def stop(self, id: str) -> None:
        """End the server and every process on it."""
        host = self._hosts.pop(id, None)
        if host:
            self._do(self._stop(host))
        home = str(self._folder / "homes" / id)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                # Either will do: what detached itself may have an environment of its own making.
                if process.environ().get(MARK) == id or process.environ().get("HOME") == home:
                    process.kill()
        if host:
            shutil.rmtree(host.home, ignore_errors=True)

    def stop_all(self) -> None:
        for id in list(self._hosts):
            self.stop(id)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(
        self,
        id: str,
        host_key: str | None,
        authorized: list[str],
        user: str,
        where: tuple[str, int],
        image_key_first: float,
        given: dict[str, str],
    ) -> Host:
        home = self._folder / "homes" / id
        home.mkdir(parents=True)
        environment = {**given, **_environment(id, home, user)}
        keys = {asyncssh.import_public_key(line).public_data for line in authorized if line.strip()}
        opened: set[asyncssh.SSHServerConnection] = set()

        class Visit(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                self._conn = conn
                opened.add(conn)

            def connection_lost(self, _exc: Exception | None) -> None:
                opened.discard(self._conn)

            def begin_auth(self, _username: str) -> bool:
                return True

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return username == user and key.public_data in keys

            def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
                return CommandSession(environment, str(home))

        image_key = asyncssh.generate_private_key("ssh-ed25519")
        minted = asyncssh.import_private_key(host_key) if host_key else image_key
        server = await asyncssh.listen(
            *where,
            server_factory=Visit,
            server_host_keys=[image_key if image_key_first else minted],
            config=None,
            encoding=None,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            compression_algs=["none"],
        )
        if image_key_first:
            asyncio.get_running_loop().call_later(
                image_key_first, lambda: server.update(server_host_keys=[minted])
            )
        address, port = server.get_addresses()[0][:2]
        self._hosts[id] = Host(id, address, port, user, server, home, opened)
        return self._hosts[id]

    async def _stop(self, host: Host) -> None:
        host.server.close()
        for connection in list(host.open):
            connection.abort()
        await host.server.wait_closed()


def _environment(id: str, home: Path, user: str) -> dict[str, str]:
    """What a login on the instance sees; `python3` is one that has what the agent needs, and eight GPUs answer."""
    cuda = library_folder()
    return {
        **({"LD_LIBRARY_PATH": str(cuda), "FAKE_GPUS": "8"} if cuda else {}),
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH") or os.defpath]),
        "LANG": "C.UTF-8",
        "USER": user,
        "LOGNAME": user,
        "SHELL": shutil.which("bash") or "/bin/sh",
        "GPUSESS_CACHE": os.environ.get("GPUSESS_CACHE") or str(home / ".cache"),
        MARK: id,
    }
