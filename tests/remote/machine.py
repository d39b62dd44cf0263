"""A real OpenSSH server of this user, for one test."""

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from gpusess.providers.base import Endpoint
from gpusess.remote.ssh import Target, mint_keypair

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="needs OpenSSH's sshd")


@dataclass
class Machine:
    port: int
    host_key: str
    target: Target
    log: Path

    @property
    def identity(self) -> Path:
        return self.target.client_keys[0]


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[Machine]:
    """An OpenSSH server of this user on a free port, with these lines more in its configuration."""
    host_private, host_public = mint_keypair("host")
    client_private, client_public = mint_keypair("client")
    key = private(tmp_path / "client key", client_private)
    private(tmp_path / "host_key", host_private)
    private(tmp_path / "authorized_keys", client_public + "\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {tmp_path}/host_key
AuthorizedKeysFile {tmp_path}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
LogLevel VERBOSE
"""
    private(tmp_path / "sshd_config", config + "\n".join(options) + "\n")
    log = tmp_path / "sshd.log"
    # As root, sshd wants this folder for its unprivileged half.
    if getpass.getuser() == "root":
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    assert SSHD
    server = subprocess.Popen([SSHD, "-D", "-f", str(tmp_path / "sshd_config"), "-E", str(log)])
    try:
        wait_for_port(port, server)
        target = Target(Endpoint("127.0.0.1", port, getpass.getuser()), [host_public], [key])
        yield Machine(port, host_public, target, log)
    finally:
        for process in (*psutil.Process(server.pid).children(recursive=True), server):
            process.kill()
        server.wait()


def wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if server.poll() is not None:
                pytest.skip("sshd does not start here")
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
