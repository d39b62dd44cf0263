"""What an instance carries so that it can be recognised: our name and tags, on every cloud, and from any
laptop.

The name alone says it all, for clouds that give no tags back: `gpusess-SESSION-NUMBER`, and `-dEPOCH` with
the latest end where there is one.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets

from gpusess import paths
from gpusess.providers.base import Instance

SESSION, HOST, DEADLINE = "gpusess", "gpusess-host", "gpusess-deadline"
_NAME = re.compile(r"gpusess-([0-9a-z]+)-(\d+)(?:-d(\d{9,11}))?")


def launch_name(session: str, number: int, deadline: float | None) -> str:
    """Unique for ever: a session's id is, and its launches are counted."""
    return f"gpusess-{session}-{number}" + (f"-d{int(deadline)}" if deadline is not None else "")


def launch_tags(session: str, deadline: float | None) -> dict[str, str]:
    tags = {SESSION: session, HOST: laptop_id()}
    return tags | ({DEADLINE: str(int(deadline))} if deadline is not None else {})


def is_ours(instance: Instance) -> bool:
    """Whether gpusess launched it, here or elsewhere. It says nothing about whose it is to end."""
    return SESSION in instance.tags or _NAME.fullmatch(instance.name) is not None


def deadline_of(instance: Instance) -> float | None:
    """Seconds since the epoch after which it must not live; None where it carries none that can be read."""
    tag = instance.tags.get(DEADLINE, "")
    if re.fullmatch(r"\d{9,11}", tag):
        return float(tag)
    match = _NAME.fullmatch(instance.name)
    return float(match[3]) if match and match[3] else None


def host_of(instance: Instance) -> str:
    """The laptop that launched it; empty where the cloud gives no tags back."""
    return instance.tags.get(HOST, "")


def laptop_id() -> str:
    """Eight hex digits for this data folder: two laptops on one account tell their instances apart."""
    path = paths.private_dir(paths.home()) / "host-id"
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(4))
    return path.read_text().strip() or "00000000"
