"""The server process of one local instance: `python -m gpusess.providers.local_server FOLDER SOCKET ALIVE`.

It detaches itself, serves SSH on a socket that it inherits, and ends the instance by itself when the lease
has run out. What a session channel does is `local_command.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gpusess.providers import local_state
from remote_agent.lease import Lease

if TYPE_CHECKING:
    import asyncssh

WINDOW = 8 << 20
PACKET = 128 << 10
PASSED_ON = ("HOME", "PATH", "LANG", "USER", "LOGNAME", "SHELL", local_state.MARK, "GPUSESS_CACHE")


def main() -> None:
    folder, listener, alive = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # A command must not hold the port or the proof of life after this process is gone.
    os.set_inheritable(listener, False)
    os.set_inheritable(alive, False)
    if pid := os.fork():
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    os.dup2(2, 1)
    # Whoever launched us may ignore some (nohup, a job in the background); the instance's commands must not.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    asyncio.run(_serve(folder, socket.socket(fileno=listener)))


async def _serve(folder: Path, listener: socket.socket) -> None:
    record = local_state.read(folder)
    if record is None:
        return
    lease = Lease(record.lease_seconds, folder / "home")
    server = await _listen(folder, record.user, listener, lease)
    while not lease.has_run_out():
        await asyncio.sleep(min(1.0, record.lease_seconds / 4) if record.lease_seconds > 0 else 60.0)
    server.close()
    reason = f"nobody asked for it and no run worked for {record.lease_seconds:g} s"
    await asyncio.to_thread(local_state.end, folder, reason, os.getpid())


async def _listen(folder: Path, user: str, listener: socket.socket, lease: Lease) -> asyncssh.SSHAcceptor:
    # Late, so that the launch returns before this quarter of a second is spent.
    import asyncssh

    from gpusess.providers.local_command import CommandSession

    environment = {name: os.environ[name] for name in PASSED_ON}
    client_key = asyncssh.import_public_key((folder / "client_key.pub").read_text())

    class Visit(asyncssh.SSHServer):
        """One connection: the one key under the one name, and nothing but commands and shells."""

        def begin_auth(self, _username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return username == user and key.public_data == client_key.public_data

        def auth_completed(self) -> None:
            lease.visitors.add(self)

        def connection_lost(self, _exc: Exception | None) -> None:
            lease.visitors.discard(self)

        def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
            return CommandSession(environment, str(folder / "home"))

    return await asyncssh.listen(
        sock=listener,
        server_factory=Visit,
        server_host_keys=[asyncssh.read_private_key(folder / "host_key")],
        config=None,
        encoding=None,
        window=WINDOW,
        max_pktsize=PACKET,
        encryption_algs=[
            "aes128-gcm@openssh.com",
            "aes256-gcm@openssh.com",
            "chacha20-poly1305@openssh.com",
            "aes256-ctr",
        ],
        compression_algs=["none"],
        password_auth=False,
        kbdint_auth=False,
        gss_host=None,
        agent_forwarding=False,
        x11_forwarding=False,
        keepalive_interval=5,
        keepalive_count_max=3,
        login_timeout=30,
    )


if __name__ == "__main__":
    main()
