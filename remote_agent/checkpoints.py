"""A run's checkpoints on a disk, the instance's or the one at home: writing one, whole or not at all, finding
those that are whole, and removing what a rule does not keep.

A checkpoint is written aside, every file of it is hashed and forced to the disk, its manifest last, and then
it is renamed: what stands under its name is whole. Nothing here trains or sends. Standard library only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from remote_agent.files import CHECKPOINTS
from remote_agent.manifest import (
    MANIFEST,
    NAME,
    BadCheckpoint,
    Checkpoint,
    File,
    encode,
    in_order,
    parse,
    wanted,
)


def folder(run: Path) -> Path:
    return run / CHECKPOINTS


# --- writing -------------------------------------------------------------------------------------------


def begin(run: Path, name: str) -> Path:
    """An empty folder to write the checkpoint's files into. What an earlier try left there is removed."""
    if not NAME.fullmatch(name):
        raise BadCheckpoint(f"{name!r} is no checkpoint's name: letters, digits and . _ -, at most 100")
    aside = aside_of(run, name)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    return aside


def publish(run: Path, name: str, step: int, score: float | None = None) -> Checkpoint:
    """Make what was written since `begin` the checkpoint of that name, whole or not at all.

    Raises BadCheckpoint where nothing was written, or something that is no file, or the name is taken.
    """
    aside, place = aside_of(run, name), folder(run) / name
    if place.exists():
        raise BadCheckpoint(f"{place} exists")
    files = tuple(_hashed(aside, path) for path in _paths(aside))
    if not files:
        raise BadCheckpoint(f"{aside} holds no files")
    made = Checkpoint(name, step, round(time.time(), 3), score, files)
    settle(run, made)
    return made


def settle(run: Path, made: Checkpoint, *, replace: bool = False) -> None:
    """The last steps: what lies aside, durable and as the manifest says, gets the manifest and the name.
    `replace`: instead of another one that has it."""
    aside, place = aside_of(run, made.name), folder(run) / made.name
    (aside / MANIFEST).unlink(missing_ok=True)
    write_durably(aside / MANIFEST, encode(made))
    for here, _, _ in os.walk(aside):
        sync_folder(Path(here))
    if replace:
        discard(run, made.name)
    aside.rename(place)
    sync_folder(place.parent)


def write_durably(path: Path, data: bytes) -> None:
    """A new file that is on the disk when this returns."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def set_score(run: Path, name: str, score: float) -> Checkpoint:
    """Say how good a whole checkpoint is, once that was measured. Raises BadCheckpoint, FileNotFoundError."""
    made = dataclasses.replace(read(folder(run) / name), score=score)
    rewrite(run, made)
    return made


def rewrite(run: Path, made: Checkpoint) -> None:
    """Replace the manifest of a whole checkpoint."""
    place = folder(run) / made.name
    if place.is_symlink():
        _own(run, place)
    aside = place / f".{MANIFEST}.new"
    aside.unlink(missing_ok=True)
    write_durably(aside, encode(made))
    aside.replace(place / MANIFEST)
    sync_folder(place)
    os.utime(folder(run))  # `follow` looks at the folder's time


def _own(run: Path, place: Path) -> None:
    """A checkpoint that was sent here is a link into what others may use: give it a folder of its own."""
    aside = aside_of(run, place.name)
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(place.resolve(), aside, copy_function=os.link)
    place.unlink()
    aside.rename(place)


def discard(run: Path, name: str) -> None:
    """Remove a checkpoint. It loses its name first: half of one never looks whole."""
    place, aside = folder(run) / name, folder(run) / f".{name}.gone"
    shutil.rmtree(aside, ignore_errors=True)
    if place.is_symlink():  # It was sent here, and what it leads to may be led to from elsewhere.
        place.unlink()
    elif place.exists():
        place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def keep(run: Path, newest: int, best: bool) -> list[str]:
    """Remove all but the `newest` ones, and the best one where `best`; the names of what was removed."""
    found = whole(run)
    kept = {checkpoint.name for checkpoint in wanted(found, newest, best)}
    gone = [checkpoint.name for checkpoint in found if checkpoint.name not in kept]
    for name in gone:
        discard(run, name)
    return gone


def tidy(run: Path) -> None:
    """Remove what a process that was killed has left beside the whole ones. To be called by the one that
    writes checkpoints here, before it writes any."""
    for left in (*folder(run).glob(".*.part"), *folder(run).glob(".*.part.*"), *folder(run).glob(".*.gone")):
        shutil.rmtree(left, ignore_errors=True)


def aside_of(run: Path, name: str) -> Path:
    """Where a checkpoint is while it is being written."""
    return folder(run) / f".{name}.part"


def _paths(root: Path) -> Iterable[str]:
    """The files below a folder. Links and devices are refused: they could not be brought home as they are."""
    for here, folders, names in os.walk(root):
        for name in sorted([*folders, *names]):
            path = Path(here, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                yield path.relative_to(root).as_posix()
            elif not stat.S_ISDIR(mode):
                raise BadCheckpoint(f"{path} is no plain file; a checkpoint holds files only")


def _hashed(root: Path, path: str) -> File:
    with (root / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        os.fsync(file.fileno())
    return File(path, size, digest)


# --- reading -------------------------------------------------------------------------------------------


def whole(run: Path) -> list[Checkpoint]:
    """The checkpoints under their names, in order of their steps, but for those with a damaged manifest."""
    found = []
    for name in _names(run):
        with contextlib.suppress(BadCheckpoint, OSError):
            found.append(read(folder(run) / name))
    return in_order(found)


def read(place: Path) -> Checkpoint:
    """The manifest of a checkpoint's folder. Raises BadCheckpoint, FileNotFoundError."""
    made = parse((place / MANIFEST).read_bytes())
    if made.name != place.name:
        raise BadCheckpoint(f"{place}: the manifest is that of {made.name!r}")
    return made


def verify(place: Path, *, to_resume: bool = True) -> Checkpoint:
    """Read every byte of a checkpoint and hold it against the manifest. Raises BadCheckpoint.

    to_resume: False reads only what an evaluation needs; the rest may not be there, and the folder may have
    another name.
    """
    try:
        made = read(place) if to_resume else parse((place / MANIFEST).read_bytes())
        for file in made.files if to_resume else made.evaluated:
            found = _hashed(place, file.path)
            if found != file:
                raise BadCheckpoint(
                    f"{place / file.path} is not what the manifest says; do not "
                    f"{'resume from' if to_resume else 'evaluate'} it"
                )
    except OSError as exc:
        raise BadCheckpoint(f"{exc.filename or place}: {exc.strerror}") from exc
    return made


def newest_good(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """What a run resumes from: the newest checkpoint of which every byte is verified. And why each one that
    may have been newer was refused."""
    found, refused = [], []
    for name in _names(run):
        try:
            found.append(read(folder(run) / name))
        except (BadCheckpoint, OSError) as exc:
            refused.append(f"{name}: {exc}")
    for made in reversed(in_order(found)):
        try:
            return verify(folder(run) / made.name), refused
        except BadCheckpoint as exc:
            refused.append(f"{made.name}: {exc}")
    return None, refused


def _names(run: Path) -> list[str]:
    try:
        return sorted(filter(NAME.fullmatch, os.listdir(folder(run))))  # noqa: PTH208 (names are enough)
    except FileNotFoundError:
        return []
