"""A checkpoint's manifest: its step, its score, each of its files with size and hash. And which ones a rule
keeps. Pure: no disk, no clock. Both sides use it, and trust nothing that came over the wire.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

MANIFEST = "manifest.json"
VERSION = 1
FILES_LIMIT = 4096
MANIFEST_LIMIT = 4 << 20
EXPORTS = ("adapter", "merged")
"""The names of a trained model that was exported, among the checkpoints: the adapter, or whole weights. The
adapter comes first: merging takes it up."""
RESUMING = ("optimizer", "scheduler", "rng_state", "scaler", "trainer_state", "training_args")
"""What the names of files begin with that only a training reads: an evaluation does without them."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA = re.compile(r"[0-9a-f]{64}")


class BadCheckpoint(Exception):
    """A checkpoint that is not whole, or a manifest that no honest one could be; the message says why."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a checkpoint."""

    path: str
    """Relative to the checkpoint's folder, with `/`."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a manifest says."""

    name: str
    step: int
    made: float
    """Seconds since the epoch."""
    score: float | None
    """How good it is, higher is better; None: nobody has measured it."""
    files: tuple[File, ...]

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def evaluated(self) -> tuple[File, ...]:
        """The files that an evaluation reads."""
        return tuple(file for file in self.files if not file.path.startswith(RESUMING))

    @property
    def identity(self) -> str:
        """What it is wherever it lies: its name, and a hash of what an evaluation reads of it."""
        content = "".join(f"{file.path}\0{file.sha256}\n" for file in self.evaluated)
        return f"{self.name}@{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def to_value(made: Checkpoint) -> dict[str, Any]:
    return {"v": VERSION, **asdict(made)}


def encode(made: Checkpoint) -> bytes:
    return json.dumps(to_value(made), indent=1).encode() + b"\n"


def parse(data: bytes | str) -> Checkpoint:
    """A manifest, with all that is in it checked: its sender may lie. Raises BadCheckpoint."""
    if len(data) > MANIFEST_LIMIT:
        raise BadCheckpoint("a manifest that is too long")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise BadCheckpoint("a manifest that is no JSON") from None
    return from_value(value)


def from_value(value: Any) -> Checkpoint:
    """As `parse`, of what JSON held."""
    if not isinstance(value, dict) or value.get("v") != VERSION:
        raise BadCheckpoint("not a checkpoint's manifest")
    name, step, made, score = (value.get(key) for key in ("name", "step", "made", "score"))
    entries = value.get("files")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadCheckpoint(f"no checkpoint's name: {name!r:.100}")
    if type(step) is not int or not 0 <= step < 1 << 62:
        raise BadCheckpoint(f"{name}: a step that makes no sense")
    if not isinstance(entries, list) or not 0 < len(entries) <= FILES_LIMIT:
        raise BadCheckpoint(f"{name}: between 1 and {FILES_LIMIT} files are a checkpoint")
    files = tuple(_file(name, entry) for entry in entries)
    _refuse_clashes(name, files)
    return Checkpoint(name, step, _number(name, made), None if score is None else _number(name, score), files)


def _file(name: str, entry: Any) -> File:
    if not isinstance(entry, dict):
        raise BadCheckpoint(f"{name}: a file that makes no sense")
    path, size, sha = entry.get("path"), entry.get("size"), entry.get("sha256")
    if not isinstance(path, str) or not safe_path(path):
        raise BadCheckpoint(f"{name}: a path that is never written: {path!r:.200}")
    if type(size) is not int or not 0 <= size < 1 << 50:
        raise BadCheckpoint(f"{name}: {path} has a size that makes no sense")
    if not isinstance(sha, str) or not _SHA.fullmatch(sha):
        raise BadCheckpoint(f"{name}: {path} has no SHA-256")
    return File(path, size, sha)


def safe_path(path: str) -> bool:
    """Whether a path stays inside its folder on every system, and is not the manifest's own."""
    parts = path.split("/")
    if len(path) > 1000 or not path.isprintable() or "\\" in path or ":" in path:
        return False
    if path.casefold() == MANIFEST or any(len(part.encode()) > 255 for part in parts):
        return False
    return not any(part in ("", ".", "..") for part in parts)


def _refuse_clashes(name: str, files: tuple[File, ...]) -> None:
    """Two files of one name (case aside: not every disk tells it apart), or a file that is also a folder."""
    taken = {file.path.casefold() for file in files}
    if len(taken) < len(files):
        raise BadCheckpoint(f"{name}: two files of one name")
    for file in files:
        parts = file.path.casefold().split("/")
        if any("/".join(parts[:count]) in taken for count in range(1, len(parts))):
            raise BadCheckpoint(f"{name}: {file.path} lies in a file")


def _number(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not -1e300 < value < 1e300:
        raise BadCheckpoint(f"{name}: a time or score that makes no sense")
    return float(value)


# --- the rule ---


def in_order(found: Iterable[Checkpoint]) -> list[Checkpoint]:
    """By step; of equal steps the later one last."""
    return sorted(found, key=lambda made: (made.step, made.made, made.name))


def wanted(found: Iterable[Checkpoint], newest: int, best: bool) -> list[Checkpoint]:
    """What a rule keeps: the last `newest` by step, newest first, then the best (of equal ones the later).

    An exported model is kept always, and takes no checkpoint's place: nothing can be resumed from it.
    """
    everything = in_order(found)
    ordered = [made for made in everything if made.name not in EXPORTS]
    kept = ordered[len(ordered) - newest :][::-1] if newest < len(ordered) else ordered[::-1]
    scored = [made for made in ordered if made.score is not None]
    if best and scored:
        top = max(reversed(scored), key=lambda made: made.score or 0.0)
        if top not in kept:
            kept.append(top)
    return kept + [made for made in everything if made.name in EXPORTS]
