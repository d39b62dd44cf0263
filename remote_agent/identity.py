"""Which build of the agent this is: the archive that it was started from, and its content's hash."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def archive() -> Path | None:
    """The one file that the agent was pushed as; None when it runs from a source tree."""
    path = Path(sys.argv[0]).resolve()
    return path if path.suffix == ".pyz" and path.is_file() else None


def agent_id() -> str:
    """First 16 hex digits of the archive's SHA-256, or `source`."""
    path = archive()
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path else "source"


def command(*args: str) -> list[str]:
    """The command line that starts another process of this same agent."""
    path = archive()
    start = [str(path)] if path else ["-m", "remote_agent"]
    return [sys.executable, *start, *args]
