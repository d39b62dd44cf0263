"""What has gone to a session's instance and what has come home, from the files that the driver keeps: a line
for each tree that was sent and each checkpoint that came, how far the present one is, the mirrors' lengths.
Nothing is moved here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from gpusess import paths
from gpusess.sync.progress import Progress
from remote_agent.checkpoints import folder, whole
from remote_agent.files import JOURNALS, LOGS

SENT, RECEIVED = "sent.jsonl", "received.jsonl"
"""In a session's folder: trees that went there, checkpoints that came home."""
COMING = "coming.json"
"""In a run's folder while a checkpoint comes home: how far it is."""
NOTED_EVERY = 0.5
"""Seconds between two notes of how far one is."""
SILENT_AFTER = 10.0
"""Seconds without a new byte after which a transfer counts as standing still."""


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
class Received:
    """What bringing one checkpoint home took."""

    at: float
    run: str
    name: str
    step: int
    bytes: int
    """Of its files, as they are at home."""
    received: int
    """Bytes that came over the link, as they were sent."""
    seconds: float
    how: str
    """How its files came, or why they need not: in words."""

    @property
    def rate(self) -> float | None:
        """Bytes per second over the link; None where nothing had to come."""
        return self.received / self.seconds if self.received and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Coming:
    """A checkpoint on its way home."""

    run: str
    name: str
    step: int
    bytes: int
    done: int
    """Bytes of its files that are here."""
    rate: float
    """Bytes of its files a second, lately."""
    at: float
    """When the last of them came, in seconds since the epoch."""

    @property
    def left(self) -> float | None:
        """Seconds to go, as the rate is; None while it is not known."""
        return max(0, self.bytes - self.done) / self.rate if self.rate > 0 else None

    def silent(self, now: float) -> float | None:
        """Seconds since the last byte, where that is too long to count on the rate; else None."""
        return now - self.at if now - self.at > SILENT_AFTER else None


@dataclass(frozen=True, slots=True)
class Traffic:
    """All that is known of one session at one moment."""

    sent: tuple[Sent, ...] = ()
    """Oldest first."""
    home: int = 0
    """Bytes of the mirrors and their logs."""
    checkpoints: tuple[Pulled, ...] = ()
    """In the order in which they came."""
    received: tuple[Received, ...] = ()
    """What came over the link for them, and for those that are kept no more. Oldest first."""
    coming: tuple[Coming, ...] = ()


# --- the driver's part: writing it down ---


def note(session_id: str, sent: Sent | Received) -> None:
    """Keep what was sent, or what came. Raises OSError."""
    path = paths.session_dir(session_id) / (SENT if isinstance(sent, Sent) else RECEIVED)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(sent)) + "\n")


@contextmanager
def coming(home: Path, run: str, name: str, step: int) -> Iterator[Callable[[Progress], None]]:
    """Note in `home`, the run's folder, how far a checkpoint is. The note goes with the block.

    What it gives is to be called as bytes come. A disk that takes no note holds up no transfer.
    """
    file, partial = home / COMING, home / f"{COMING}.tmp"
    noted = float("-inf")

    def tell(progress: Progress) -> None:
        nonlocal noted
        if time.monotonic() - noted < NOTED_EVERY:
            return
        noted = time.monotonic()
        done = progress.sent + progress.spared
        found = Coming(run, name, step, progress.total, done, round(progress.rate, 1), round(time.time(), 3))
        with suppress(OSError):
            partial.write_text(json.dumps(asdict(found)), encoding="utf-8")
            partial.replace(file)

    try:
        yield tell
    finally:
        for left in (partial, file):
            with suppress(OSError):
                left.unlink()


def forget_coming(home: Path) -> None:
    """Remove the note of a transfer whose driver was killed."""
    with suppress(OSError):
        (home / COMING).unlink()


# --- everybody's part: looking at it ---


def read(session_id: str, runs: Sequence[str]) -> Traffic:
    """Look at the files: some stats and small reads, so nothing for a drawing thread."""
    pulled = [found for run in runs for found in _pulled(session_id, run)]
    home = sum(_size(paths.run_dir(session_id, run) / name) for run in runs for name in (*JOURNALS, *LOGS))
    folder = paths.session_dir(session_id)
    on_the_way = [found for run in runs for found in _read(paths.run_dir(session_id, run) / COMING, Coming)]
    return Traffic(
        tuple(_read(folder / SENT, Sent)),
        home,
        tuple(sorted(pulled, key=lambda found: found.at)),
        tuple(_read(folder / RECEIVED, Received)),
        tuple(on_the_way),
    )


_Noted = TypeVar("_Noted", Sent, Received, Coming)


def _read(path: Path, kind: type[_Noted]) -> list[_Noted]:
    found = []
    with suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8").splitlines():
            # A last line may be half there: its driver was killed.
            with suppress(ValueError, TypeError):
                value: dict[str, Any] = json.loads(line)
                found.append(kind(**value))
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
