"""What a real machine would make of the user data or the start script that the launch call gave it.

Nothing here knows which keys gpusess has minted: a server that answers with the right key proves injection.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import yaml

_SYSTEM = re.compile(r"(?<![\w.])/(etc|root|run|home|var|dev/shm|opt|usr/local|workspace)(?=[/\s;'\"]|$)")
_ENDS = ("sshd", "service", "systemctl", "shutdown", "reboot")


@dataclass
class Boot:
    """What the machine's SSH server is started with. `host_key` None: the image's own, which nobody knows."""

    host_key: str | None = None
    authorized: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    """What the user data asks to be run; kept, not run."""
    said: str = ""
    """What a start script printed."""


def cloud_init(text: str) -> Boot:
    """cloud-init's `#cloud-config`: keys in place of the image's only where the old ones are deleted and the
    two halves fit. Raises ValueError where cloud-init would have ignored it."""
    if not text.startswith("#cloud-config\n"):
        raise ValueError("user data without its #cloud-config line is ignored by cloud-init")
    config: Any = yaml.safe_load(text)
    if not isinstance(config, dict):
        raise ValueError("the user data is no mapping")
    boot = Boot(authorized=[str(line) for line in config.get("ssh_authorized_keys", [])])
    keys = config.get("ssh_keys", {})
    if private := keys.get("ed25519_private"):
        _fit(private, keys.get("ed25519_public", ""))
        boot.host_key = private
    boot.commands = [c if isinstance(c, str) else " ".join(map(str, c)) for c in config.get("runcmd", [])]
    return boot


def start_script(script: str, folder: Path, environment: dict[str, str] | None = None) -> Boot:
    """Run a start script with a folder in place of the machine's root; what it left there.

    System paths are moved below the folder, and commands that start servers are stubs. Raises ValueError
    where the script fails.
    """
    root = folder / "root"
    stubs = folder / "stubs"
    for path in (root / "etc/ssh", root / "root", root / "run", stubs):
        path.mkdir(parents=True, exist_ok=True)
    for name in (*_ENDS, "sudo"):
        stub = stubs / name
        does = 'shift; exec "$@"' if name == "sudo" else "exit 0"
        stub.write_text(f"#!/bin/sh\n{does}\n")
        stub.chmod(0o755)
    moved = _SYSTEM.sub(lambda m: str(root) + m[0], script)
    body = moved.split("\n", 1)[1] if moved.startswith("#!") else moved
    done = subprocess.run(
        ["/bin/sh", "-c", body],
        cwd=root,
        env={**(environment or {}), "HOME": str(root / "root"), "PATH": f"{stubs}:{os.defpath}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode:
        raise ValueError(f"the start script failed ({done.returncode}): {said[-500:]}")
    boot = Boot(said=said)
    key = root / "etc/ssh/ssh_host_ed25519_key"
    if key.exists():
        _fit(key.read_text(), key.with_suffix(".pub").read_text())
        if key.stat().st_mode & 0o077:
            raise ValueError("sshd refuses a host key that others may read")
        boot.host_key = key.read_text()
    for path in root.glob("**/.ssh/authorized_keys"):
        boot.authorized += path.read_text().split("\n")
    return boot


def _fit(private: str, public: str) -> None:
    key = asyncssh.import_private_key(private)
    if asyncssh.import_public_key(public).public_data != key.public_data:
        raise ValueError("the two halves of the host key do not fit")
