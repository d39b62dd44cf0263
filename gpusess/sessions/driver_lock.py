"""One process drives a session: a lock file that the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from gpusess import paths
from gpusess.errors import SessionError


def lock_path(session_id: str) -> Path:
    return paths.session_dir(session_id) / "driver.lock"


def is_driven(session_id: str) -> bool:
    """Whether a process drives this session now."""
    return is_held(os.fspath(lock_path(session_id)))


def is_held(path: str) -> bool:
    """Whether a process holds that lock now."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class DriverLock:
    """Held for as long as the process drives the session. Raises SessionError where another one does."""

    def __init__(self, session_id: str, patience: float = 2.0) -> None:
        paths.private_dir(paths.session_dir(session_id))
        self._fd = os.open(lock_path(session_id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # A look by `is_driven` holds the lock for an instant; a driver holds it for good.
                if time.monotonic() > deadline:
                    os.close(self._fd)
                    raise SessionError(
                        "another process drives this session", "`gpusess attach` shows it"
                    ) from None
                time.sleep(0.05)

    def release(self) -> None:
        os.close(self._fd)
