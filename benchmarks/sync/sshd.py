"""An OpenSSH server on loopback for a measurement, with keys of its own, and how to reach it."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.machine import BenchmarkBroken
from gpusess.providers.base import Endpoint
from gpusess.remote.ssh import Target, mint_keypair

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
MISSING = "needs OpenSSH's sshd, ssh and scp"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `folder` is removed at its end."""

    target: Target
    folder: Path
    known_hosts: Path

    def options(self, port: int | None = None) -> list[str]:
        """ssh's options that log in here, over another port where something stands between."""
        pairs = [
            f"HostName={self.target.endpoint.host}",
            f"Port={port or self.target.endpoint.port}",
            f"User={self.target.endpoint.user}",
            f"IdentityFile={self.target.client_keys[0]}",
            f"UserKnownHostsFile={self.known_hosts}",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            "HostKeyAlias=bench",
            "BatchMode=yes",
        ]
        return ["-F", "none", *(word for pair in pairs for word in ("-o", pair))]

    def through(self, port: int) -> Target:
        """The same server as it is reached over another port."""
        endpoint = Endpoint("127.0.0.1", port, self.target.endpoint.user)
        return Target(endpoint, self.target.host_keys, self.target.client_keys)


def available() -> bool:
    return SSHD is not None and shutil.which("ssh") is not None and shutil.which("scp") is not None


@contextlib.contextmanager
def openssh(address: str = "127.0.0.1", before: Sequence[str] = ()) -> Iterator[Server]:
    """Start one as this user; ended with all its children. Raises BenchmarkBroken where it does not start.

    `before`: stands before its command line, for a server in another namespace.
    """
    assert SSHD is not None
    folder = Path(tempfile.mkdtemp(prefix="gpusess-sshd-"))
    host_private, host_public = mint_keypair("host")
    client_private, client_public = mint_keypair("client")
    for name, text in (
        ("host_key", host_private),
        ("client_key", client_private),
        ("authorized_keys", client_public + "\n"),
        ("known_hosts", f"bench {host_public}\n"),
    ):
        (folder / name).touch(0o600)
        (folder / name).write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress {address}\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\nMaxStartups 100\n"
    )
    if getpass.getuser() == "root":  # As root, sshd wants this folder for its unprivileged half.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen([*before, SSHD, "-D", "-f", f"{folder}/sshd_config", "-E", f"{folder}/log"])
    try:
        _wait_for(address, port, process)
        target = Target(Endpoint(address, port, getpass.getuser()), [host_public], [folder / "client_key"])
        yield Server(target, folder, folder / "known_hosts")
    finally:
        for child in (*psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                child.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 5
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection((address, port), 1).close()
            return
        time.sleep(0.05)
    raise BenchmarkBroken("sshd does not start here")
