"""Where gpusess keeps things on the user's disk. Standard library only, and nothing is created here
but by `private_dir`.

    $GPUSESS_HOME (default ~/.local/share/gpusess)
    ├── gpusess.db                     sessions, transitions, intents, runs (SQLite, WAL)
    ├── sessions/<id>/                 keys, the driver's lock and log
    │   └── runs/<run>/                mirrors: journal.jsonl, events.jsonl, worker.log, …
    └── local/<instance>/              instances of the local provider
    $GPUSESS_CACHE (default ~/.cache/gpusess)
    └── models/                        models that were converted or downloaded
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The data folder."""
    default = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "gpusess"
    return Path(os.environ.get("GPUSESS_HOME") or default)


def cache() -> Path:
    """What may be thrown away and is made again when needed."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpusess"
    return Path(os.environ.get("GPUSESS_CACHE") or default)


def config_dir() -> Path:
    """Where the user's settings and secrets are."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "gpusess"


def config_file() -> Path:
    """The user's settings; $GPUSESS_CONFIG names another file."""
    return Path(os.environ.get("GPUSESS_CONFIG") or config_dir() / "config.toml")


def database() -> Path:
    return home() / "gpusess.db"


def session_dir(session_id: str) -> Path:
    return home() / "sessions" / session_id


def run_dir(session_id: str, run_id: str) -> Path:
    """The mirror of a run's folder on the instance."""
    return session_dir(session_id) / "runs" / run_id


def private_dir(path: Path) -> Path:
    """Make a folder that only its owner can read, and return it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path
