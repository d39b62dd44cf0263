"""What is on disk about an instance of the local provider, and the clean-up that ends one.

Both the user's side (`local.py`) and the instance's own server process (`local_server.py`) end instances
through `end`, under one lock, so it may be called twice, at once, or again after it was killed half way.

    <data folder>/local/<id>/
    ├── instance.json    the record, replaced atomically
    ├── lock             held while the record changes
    ├── alive            held (flock) by the server process for as long as it lives
    ├── host_key, client_key.pub
    ├── server.log
    └── home/
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from gpusess import paths
from gpusess.errors import ProviderFault

MARK = "GPUSESS_INSTANCE"
"""The environment variable that every process of an instance inherits, however far it detaches itself."""

TERM_SECONDS = 2.0
KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """The cloud side of one instance. Times in seconds since the epoch."""

    id: str
    name: str
    price: float
    port: int
    user: str
    lease_seconds: float
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    pid: int = 0
    """For people who look; the liveness test is the lock, which a reused pid cannot fake."""
    phase: str = "open"
    """open → ending → ended."""
    ended: float = 0.0
    reason: str = ""


def folder_of(instance_id: str) -> Path | None:
    """The instance's folder, or None for what cannot be an id of ours."""
    if not re.fullmatch(r"local-[0-9a-f]+", instance_id):
        return None
    return paths.home() / "local" / instance_id


def folders() -> list[Path]:
    return sorted((paths.home() / "local").glob("local-*"))


def read(folder: Path) -> Record | None:
    try:
        return Record(**json.loads((folder / "instance.json").read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(folder: Path, record: Record) -> None:
    """Replace the record; durable before it returns."""
    write_private(folder / "instance.json.new", json.dumps(asdict(record), indent=1))
    (folder / "instance.json.new").replace(folder / "instance.json")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, also while it is being written."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to change the record. Raises FileNotFoundError when the instance is forgotten already."""
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def holding_alive(folder: Path) -> Iterator[int]:
    """A descriptor that keeps `is_alive` true until its last copy in any process is closed."""
    with (folder / "alive").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def is_alive(folder: Path) -> bool:
    """Whether the server process lives: the kernel drops its lock with it, even after SIGKILL."""
    try:
        with (folder / "alive").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def end(folder: Path, reason: str, spare: int = 0) -> None:
    """End an instance: its processes (but `spare`), its files; what stays is a record of phase "ended".

    Blocks for some seconds at most. Raises ProviderFault when a process survives SIGKILL; call it again then.
    """
    try:
        with locked(folder):
            record = read(folder)
            if record is None or record.phase == "ended":
                return
            record = replace(record, phase="ending", reason=record.reason or reason)
            write(folder, record)
            _kill_all(record.id, spare)
            _remove_files(folder)
            write(folder, replace(record, phase="ended", ended=time.time()))
    except FileNotFoundError:
        return


def forget(folder: Path) -> None:
    """Drop an ended instance's record."""
    shutil.rmtree(folder, ignore_errors=True)


def marked(instance_id: str, spare: int = 0) -> set[psutil.Process]:
    """Every process that was started on the instance, and their descendants."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != spare and process.environ().get(MARK) == instance_id:
                found.add(process)
                # A child that cleared its environment is still a child.
                found.update(process.children(recursive=True))
    return {process for process in found if process.pid not in (spare, os.getpid()) and _runs(process)}


def _kill_all(instance_id: str, spare: int) -> None:
    started = time.monotonic()
    seen: set[psutil.Process] = set()
    asked: set[psutil.Process] = set()
    while True:
        seen = {process for process in seen if _runs(process)} | marked(instance_id, spare)
        if not seen:
            return
        waited = time.monotonic() - started
        if waited > TERM_SECONDS + KILL_SECONDS:
            pids = ", ".join(str(process.pid) for process in seen)
            raise ProviderFault(f"processes of {instance_id} survive SIGKILL: {pids}", "try again")
        for process in seen:
            with contextlib.suppress(psutil.Error):
                if waited > TERM_SECONDS:
                    process.kill()
                elif process not in asked:
                    process.send_signal(signal.SIGTERM)
        asked |= seen
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _remove_files(folder: Path) -> None:
    home = folder / "home"
    try:
        shutil.rmtree(home)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ProviderFault(
            f"cannot remove {home}: {error.strerror}", "free the folder and try again"
        ) from error
    for name in ("host_key", "client_key.pub"):
        (folder / name).unlink(missing_ok=True)
