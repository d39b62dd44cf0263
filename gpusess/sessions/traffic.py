"""What has gone to a session's instance and what has come home, from the files that the driver keeps: a line
for each tree that was sent, the mirrors' lengths, the checkpoints that were pulled. It moves nothing itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gpusess import paths
from remote_agent.checkpoints import folder, whole
from remote_agent.files import JOURNALS, LOGS

SENT = "sent.jsonl"
"""In a session's folder."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One tree that was brought to the instance. Bytes are those of files, before compression."""

    at: float
    """When it was done, in seconds since the epoch."""
    source: str
    files: int
    bytes: int
    sent_files: int
    """Those that were not there already."""
    sent_bytes: int
    seconds: float

    @property
    def rate(self) -> float | None:
        """Bytes per second; None where nothing had to be sent."""
        return self.sent_bytes / self.seconds if self.sent_bytes and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Pulled:
    """A checkpoint that is at home, whole."""

    run: str
    name: str
    step: int
    bytes: int
    at: float
    """When it came."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """All that is known of one session at one moment."""

    sent: tuple[Sent, ...] = ()
    """Oldest first."""
    home: int = 0
    """Bytes of the mirrors and their logs."""
    checkpoints: tuple[Pulled, ...] = ()
    """In the order in which they came."""


def note(session_id: str, sent: Sent) -> None:
    """Keep what was sent. Raises OSError."""
    path = paths.session_dir(session_id) / SENT
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(sent)) + "\n")


def read(session_id: str, runs: Sequence[str]) -> Traffic:
    """Look at the files: some stats and small reads, so nothing for a drawing thread."""
    pulled = [found for run in runs for found in _pulled(session_id, run)]
    home = sum(_size(paths.run_dir(session_id, run) / name) for run in runs for name in (*JOURNALS, *LOGS))
    return Traffic(tuple(_sent(session_id)), home, tuple(sorted(pulled, key=lambda found: found.at)))


def _sent(session_id: str) -> list[Sent]:
    found = []
    with suppress(FileNotFoundError):
        for line in (paths.session_dir(session_id) / SENT).read_text(encoding="utf-8").splitlines():
            # A last line may be half there: its driver was killed.
            with suppress(ValueError, TypeError):
                found.append(Sent(**json.loads(line)))
    return found


def _pulled(session_id: str, run: str) -> list[Pulled]:
    home = paths.run_dir(session_id, run)
    return [
        Pulled(run, made.name, made.step, made.bytes, _changed(folder(home) / made.name))
        for made in whole(home)
    ]


def _size(path: Path) -> int:
    with suppress(OSError):
        return os.stat(path).st_size  # noqa: PTH116
    return 0


def _changed(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
