"""A machine that the user already has: launch and terminate only open and close a session on it.

Names, ports, users and known_hosts files come from the user's OpenSSH settings, by `ssh -G`. The list of
open sessions lives under the data folder, one file each.
"""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from gpusess import paths
from gpusess.errors import ProviderError, SpecError
from gpusess.providers.base import (
    Abilities,
    Endpoint,
    HostKey,
    Instance,
    InstanceStatus,
    LaunchRequest,
    LeaseEnd,
    Offer,
)
from gpusess.providers.local import price_option

ALLOWED = ("host", "identity", "port", "price", "user")
REMEMBER_SECONDS = 3600.0
RESOLVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What OpenSSH would do with the host as the user wrote it."""

    host: str
    """As written: an alias keeps its meaning (jump hosts too) for whoever reads the same settings."""
    port: int
    user: str
    key_name: str
    """The name that known_hosts files list it under."""
    known_hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One session's instance. `ended`: seconds since the epoch, 0 while open."""

    id: str
    name: str
    host: str
    port: int
    user: str
    identity: str
    price: float
    tags: dict[str, str] = field(default_factory=dict)
    ended: float = 0.0


class SshProvider:
    """The user's own machine. Options: `host` (an alias or user@host:port), user, port, identity, price."""

    name = "ssh"
    account = ""
    abilities = Abilities(rents=False, host_key=HostKey.OWN, lease_end=LeaseEnd.NOTHING)

    def __init__(self, options: dict[str, Any] | None = None, clock: Callable[[], float] = time.time) -> None:
        self._options = dict(options or {})
        if unknown := sorted(set(self._options) - set(ALLOWED)):
            raise SpecError(
                f"the provider 'ssh' has no option {', '.join(unknown)}", f"allowed: {', '.join(ALLOWED)}"
            )
        self._price = price_option(self._options)
        self._clock = clock

    async def offers(self) -> list[Offer]:
        host, _, _ = _host_option(self._options)
        return [
            Offer(
                provider=self.name,
                name=host,
                region="own",
                price=self._price,
                gpu="",
                gpus=0,
                vcpus=0,
                memory_gib=0.0,
                available=True,
            )
        ]

    async def launch(self, request: LaunchRequest) -> Instance:
        """Open a session on the machine. Nothing is sent there."""
        options = {**self._options, **request.options}
        host, user, port = _host_option(options)
        machine = await asyncio.to_thread(resolve, host, user, port)
        record = Record(
            id=f"ssh-{secrets.token_hex(4)}",
            name=request.name,
            host=machine.host,
            port=machine.port,
            user=machine.user,
            identity=str(Path(options["identity"]).expanduser()) if options.get("identity") else "",
            price=request.offer.price,
            tags=dict(request.tags),
        )
        _write(record)
        return _instance(record)

    async def known_host_keys(self, instance: Instance) -> list[str]:
        """What the user's known_hosts files say of the machine, without revoked keys; [] when nothing."""
        if instance.endpoint is None:
            return []
        machine = await asyncio.to_thread(
            resolve, instance.endpoint.host, instance.endpoint.user, instance.endpoint.port
        )
        files = [path for path in machine.known_hosts if os.access(path, os.R_OK)]
        try:
            known = asyncssh.read_known_hosts(files) if files else None
        except (OSError, ValueError) as error:
            raise ProviderError(f"cannot read the known_hosts files: {error}", ", ".join(files)) from error
        if known is None:
            return []
        keys, _, revoked, *_ = asyncssh.match_known_hosts(known, machine.key_name, "", machine.port)
        return [key.export_public_key().decode().strip() for key in keys if key not in revoked]

    async def list(self) -> list[Instance]:
        instances = []
        for path in sorted(_folder().glob("ssh-*.json")):
            record = _read(path)
            if record is None:
                continue
            if record.ended and self._clock() - record.ended > REMEMBER_SECONDS:
                path.unlink(missing_ok=True)
                continue
            instances.append(_instance(record))
        return instances

    async def get(self, instance_id: str) -> Instance | None:
        record = _record(instance_id)
        return _instance(record) if record else None

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def terminate(self, instance_id: str) -> None:
        """Close the session; the machine is left as it is."""
        record = _record(instance_id)
        if record and not record.ended:
            _write(dataclasses.replace(record, ended=self._clock()))

    def client_keys(self, instance_id: str) -> tuple[Path, ...]:
        """The identity file that the session names; empty: the user's default keys and agent."""
        record = _record(instance_id)
        return (Path(record.identity),) if record and record.identity else ()


def resolve(host: str, user: str = "", port: int = 0) -> Machine:
    """Ask OpenSSH what a host means; without an `ssh` program, what is written. Blocks for `ssh -G`."""
    settings = _ssh_settings(host, user, port) if shutil.which("ssh") else {}
    files = settings.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    files += " " + settings.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts")
    return Machine(
        host=host,
        port=port or int(settings.get("port", 22)),
        user=user or settings.get("user") or getpass.getuser(),
        key_name=settings.get("hostkeyalias") or settings.get("hostname") or host,
        known_hosts=tuple(str(Path(name).expanduser()) for name in shlex.split(files) if name != "none"),
    )


def _ssh_settings(host: str, user: str, port: int) -> dict[str, str]:
    argv = ["ssh", "-G"]
    argv += ["-l", user] if user else []
    argv += ["-p", str(port)] if port else []
    try:
        answer = subprocess.run(
            [*argv, "--", host],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=RESOLVE_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())
        raise ProviderError(
            f"ssh does not understand the host '{host}': {reason}", "see ~/.ssh/config"
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise ProviderError(f"`ssh -G {host}` failed: {error}", "see ~/.ssh/config") from error
    pairs = (line.partition(" ") for line in answer.stdout.splitlines())
    return {key: value for key, _, value in pairs}


def _host_option(options: dict[str, Any]) -> tuple[str, str, int]:
    """Host, user and port as the spec gives them; '' and 0 where OpenSSH's settings decide."""
    written = str(options.get("host") or "")
    match = re.fullmatch(r"(?:([^@\s]+)@)?(\[[0-9a-fA-F:.%]+\]|[^@:\s\[\]]+)(?::(\d+))?", written)
    if not match or match[2].startswith("-") or (match[1] or "").startswith("-"):
        raise SpecError(
            f"the provider 'ssh' needs a host, not '{written}'", "options: {host: alias or user@host:port}"
        )
    user = str(options.get("user") or match[1] or "")
    try:
        port = int(options.get("port") or match[3] or 0)
    except (TypeError, ValueError):
        port = -1
    if not 0 <= port < 65536 or user.startswith("-"):
        raise SpecError(f"the provider 'ssh' cannot use port {options.get('port')!r}, user {user!r}")
    return match[2].strip("[]"), user, port


def _folder() -> Path:
    return paths.home() / "ssh"


def _record(instance_id: str) -> Record | None:
    return _read(_folder() / f"{instance_id}.json") if re.fullmatch(r"ssh-[0-9a-f]+", instance_id) else None


def _read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def _write(record: Record) -> None:
    """Replace the record's file whole; the last word of two writers is the same word."""
    folder = paths.private_dir(_folder())
    new = folder / f".{record.id}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(record), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / f"{record.id}.json")


def _instance(record: Record) -> Instance:
    status = InstanceStatus.TERMINATED if record.ended else InstanceStatus.RUNNING
    endpoint = None if record.ended else Endpoint(record.host, record.port, record.user)
    return Instance(record.id, record.name, status, endpoint, record.price, dict(record.tags))
