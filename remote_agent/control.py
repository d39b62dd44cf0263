"""Looking at a run's supervisor and ending it, from another process. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from remote_agent.follow import JOURNALS, LOGS, length

LOCK = "supervisor.lock"
STOP_PATIENCE = 20.0
"""Seconds that a supervisor has to end its worker and itself."""


def take_lock(run: Path) -> int | None:
    """The supervisor's lock as an open descriptor with our pid in it; None where another one holds it."""
    fd = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def write_pid(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)


def supervisor_pid(run: Path) -> int | None:
    """The pid of the live supervisor; None where none runs."""
    try:
        fd = os.open(run / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        digits = os.pread(fd, 32, 0)
        return int(digits) if digits else None
    finally:
        os.close(fd)
    return None


def status(run: Path) -> int:
    """Print one JSON line: the supervisor's pid and how far each file may be sent."""
    lengths = {name: length(run, name) for name in JOURNALS + LOGS}
    facts: dict[str, Any] = {"supervisor": supervisor_pid(run), "lengths": lengths}
    print(json.dumps(facts))
    return 0


def stop(run: Path) -> int:
    """End the supervisor and with it the worker; returns when both are gone."""
    deadline = time.monotonic() + STOP_PATIENCE
    pid = supervisor_pid(run)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while supervisor_pid(run) is not None:
        if time.monotonic() > deadline:
            print(f"the supervisor {pid} does not end", file=sys.stderr)
            return 1
        time.sleep(0.05)
    return status(run)
