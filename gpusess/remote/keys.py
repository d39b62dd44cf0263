"""Key pairs, whom to connect to, and the command line of the user's own `ssh` for the same target.

Nothing here opens a connection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncssh

from gpusess.errors import HostKeyMismatch

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f]+")


class Address(Protocol):
    """Where an SSH server answers."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def user(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to connect to, and what proves who that is. Holds paths of private keys, never a key."""

    endpoint: Address
    host_keys: Sequence[str]
    """OpenSSH public key lines; one of them must answer."""
    client_keys: Sequence[Path] = ()
    """Private key files. Empty: with `user_config` the user's default keys and agent."""
    user_config: bool = False
    """Honour the user's ~/.ssh/config and agent: for a machine of the user's own, never for a rented one."""

    def __str__(self) -> str:
        return f"{self.endpoint.user}@{self.endpoint.host}:{self.endpoint.port}"


def mint_keypair(comment: str) -> tuple[str, str]:
    """A new Ed25519 pair: the private key as OpenSSH PEM, the public one as a line without line end."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    return key.export_private_key().decode(), key.export_public_key().decode().strip()


def pinned_keys(target: Target) -> list[asyncssh.SSHKey]:
    """The host keys to accept. Raises HostKeyMismatch where there is none to hold the answer against."""
    try:
        keys = [asyncssh.import_public_key(line) for line in target.host_keys]
    except asyncssh.KeyImportError as error:
        raise HostKeyMismatch(f"the host key on record for {target} cannot be read: {error}") from error
    if not keys:
        raise HostKeyMismatch(
            f"no host key of {target} is known: nothing was sent",
            f"run `ssh {_port(target)}{target.endpoint.host}` once and check the fingerprint that it shows",
        )
    return keys


def _port(target: Target) -> str:
    return "" if target.endpoint.port == 22 else f"-p {target.endpoint.port} "


def ssh_argv(target: Target, known_hosts: Path, command: str = "", tty: bool = False) -> list[str]:
    """The arguments that open the same connection with the user's `ssh`. Writes `known_hosts`.

    `command` empty: a shell. `tty`: ask for a terminal even where stdin is none.
    """
    pinned_keys(target)
    lines = "".join(f"gpusess-instance {line.strip()}\n" for line in target.host_keys)
    with os.fdopen(os.open(known_hosts, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(lines)
    argv = ["ssh"] if target.user_config else ["ssh", "-F", "none"]
    # An alias in place of the name: jump hosts and odd ports then need no pattern of their own.
    settings = {
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "none",
        "HostKeyAlias": "gpusess-instance",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "ForwardAgent": "no",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
    }
    if target.client_keys:
        settings["IdentitiesOnly"] = "yes"
    for name, value in settings.items():
        argv += ["-o", f"{name}={value}"]
    for key in target.client_keys:
        argv += ["-i", str(key)]
    if tty:
        argv.append("-tt")
    argv += ["-p", str(target.endpoint.port), f"{target.endpoint.user}@{target.endpoint.host}"]
    return [*argv, command] if command else argv


def printable(text: str | bytes, limit: int = 400) -> str:
    """What a remote said, fit for a user's terminal: one line, no control characters, its end if too long."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= limit else "…" + line[-limit:]
