"""The embedded provider: each instance is a real SSH server in its own detached process on this machine.

Everything that works on a rented instance works here without an account and without money. The server is
`local_server.py`; what is on disk and how an instance ends is `local_state.py`.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from gpusess import paths
from gpusess.errors import ProviderFault, SpecError
from gpusess.providers import local_state
from gpusess.providers.base import (
    Abilities,
    Endpoint,
    Instance,
    InstanceStatus,
    LaunchRequest,
    LeaseEnd,
    Offer,
)
from gpusess.providers.local_state import Record

REMEMBER_SECONDS = 3600.0
"""How long a terminated instance is still listed."""
START_SECONDS = 30.0


def price_option(options: dict[str, Any]) -> float:
    """`price` in US dollars an hour: lets a budget be rehearsed on a machine that costs nothing."""
    try:
        price = float(options.get("price", 0.0))
    except (TypeError, ValueError):
        price = -1.0
    if not 0 <= price < float("inf"):
        raise SpecError(f"price must be US dollars an hour, not {options['price']!r}")
    return price


class LocalProvider:
    """Instances on this machine. Options: `price`. `clock` gives seconds since the epoch."""

    name = "local"
    account = ""
    abilities = Abilities(lease_end=LeaseEnd.PROVIDER)

    def __init__(self, options: dict[str, Any] | None = None, clock: Callable[[], float] = time.time) -> None:
        options = options or {}
        if unknown := sorted(set(options) - {"price"}):
            raise SpecError(f"the provider 'local' has no option {', '.join(unknown)}", "allowed: price")
        self._price = price_option(options)
        self._clock = clock

    async def offers(self) -> list[Offer]:
        return [
            Offer(
                provider=self.name,
                name="local-cpu",
                region="here",
                price=self._price,
                gpu="",
                gpus=0,
                vcpus=os.cpu_count() or 1,
                memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
                available=True,
            )
        ]

    async def known_host_keys(self, instance: Instance) -> list[str]:
        """Never needed: the instance answers with the key of its launch request."""
        del instance
        return []

    async def launch(self, request: LaunchRequest) -> Instance:
        instance_id = f"local-{secrets.token_hex(4)}"
        try:
            return await asyncio.to_thread(self._launch, request, instance_id)
        except ProviderFault:
            await self.terminate(instance_id)
            raise

    async def get(self, instance_id: str) -> Instance | None:
        folder = local_state.folder_of(instance_id)
        record = local_state.read(folder) if folder else None
        return _instance(folder, record) if folder and record else None

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def terminate(self, instance_id: str) -> None:
        """Returns when the instance has ended; unknown and ended instances are fine."""
        if folder := local_state.folder_of(instance_id):
            await asyncio.to_thread(local_state.end, folder, "terminated")

    def _launch(self, request: LaunchRequest, instance_id: str) -> Instance:
        paths.private_dir(paths.home() / "local")
        folder = paths.private_dir(paths.home() / "local" / instance_id)
        paths.private_dir(folder / "home")
        local_state.write_private(folder / "host_key", request.host_private_key)
        local_state.write_private(folder / "client_key.pub", request.client_public_key)
        # The socket listens before the server runs: who connects early waits instead of being refused.
        with (
            local_state.locked(folder),
            local_state.holding_alive(folder) as alive,
            socket.create_server(("127.0.0.1", 0), backlog=64) as listener,
        ):
            record = Record(
                id=instance_id,
                name=request.name,
                price=request.offer.price,
                port=listener.getsockname()[1],
                user=getpass.getuser(),
                lease_seconds=request.lease_seconds,
                created=self._clock(),
                tags=dict(request.tags),
            )
            # Under its name before the process exists: what is killed here is found and ended later.
            local_state.write(folder, record)
            record = replace(record, pid=_start_server(folder, record, listener.fileno(), alive))
            local_state.write(folder, record)
        return _instance(folder, record)

    async def list(self) -> list[Instance]:
        instances = []
        for folder in local_state.folders():
            record = local_state.read(folder)
            if record is None:
                continue
            if record.phase == "ended" and self._clock() - record.ended > REMEMBER_SECONDS:
                local_state.forget(folder)
                continue
            instances.append(_instance(folder, record))
        return instances


def _instance(folder: Path, record: Record) -> Instance:
    status, reason = InstanceStatus.RUNNING, record.reason
    if record.phase == "ended":
        status = InstanceStatus.TERMINATED
    elif record.phase == "ending":
        status = InstanceStatus.TERMINATING
    elif not local_state.is_alive(folder):
        status, reason = InstanceStatus.FAILED, _why_gone(folder)
    running = status is InstanceStatus.RUNNING
    endpoint = Endpoint("127.0.0.1", record.port, record.user) if running else None
    return Instance(record.id, record.name, status, endpoint, record.price, dict(record.tags), reason)


def _why_gone(folder: Path) -> str:
    reason = "the server process is gone"
    try:
        lines = (folder / "server.log").read_text(errors="replace").split("\n")
    except FileNotFoundError:
        return reason
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{reason}: {last}" if last else reason


def _start_server(folder: Path, record: Record, listener: int, alive: int) -> int:
    """Start the detached server process; its pid. It inherits the socket and the proof that it lives."""
    command = [sys.executable, "-P", "-m", "gpusess.providers.local_server", str(folder)]
    try:
        with (folder / "server.log").open("ab") as log:
            started = subprocess.run(
                [*command, str(listener), str(alive)],
                env=_server_environment(folder, record),
                pass_fds=(listener, alive),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=START_SECONDS,
                check=True,
            )
        return int(started.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ProviderFault(
            f"the local instance did not start: {error}", f"see {folder / 'server.log'}"
        ) from error


def _server_environment(folder: Path, record: Record) -> dict[str, str]:
    """What the instance's processes see, and the way to our own code; nothing else of the user's."""
    return {
        "HOME": str(folder / "home"),
        # The instance's `python3` is the one that runs gpusess, as an image brings one that is complete.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH") or os.defpath]),
        "LANG": os.environ.get("LANG") or "C.UTF-8",
        "USER": record.user,
        "LOGNAME": record.user,
        "SHELL": shutil.which("bash") or "/bin/sh",
        local_state.MARK: record.id,
        "GPUSESS_CACHE": str(paths.cache().absolute()),
        # For the server alone: another HOME moves the user's own site-packages away.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
