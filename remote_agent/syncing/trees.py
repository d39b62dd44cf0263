"""Trees: what a list of files says, put together from what is here already and from what was sent.

A tree is made beside its place and renamed when all of it is there, so nobody sees half of one; the place is
a link, which is replaced in one step. Files that a tree shares with the one before it are hard links.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from remote_agent.syncing import blocks
from remote_agent.syncing.parts import Parts
from remote_agent.syncing.rows import LARGE, Row, check, tree_id
from remote_agent.syncing.store import Refused, Seen, Store, clone, place_key

KEPT = 3
"""Trees without a place that are kept, and how many of the newest are searched for files."""
_MODES = {"file": 0o644, "exec": 0o755}


@dataclass
class Record:
    """A tree that is there, and what its files were when they were written."""

    id: str
    folder: Path
    rows: list[Row]
    seen: dict[str, Seen]
    """Of files, by path."""
    fresh: bool
    """It was written, or hashed, since the last boot."""

    @cached_property
    def by_path(self) -> dict[str, Row]:
        return {row[0]: row for row in self.rows}

    @cached_property
    def by_content(self) -> dict[str, Row]:
        return {row[3]: row for row in self.rows if row[1] in _MODES}


@dataclass(slots=True)
class Build:
    """A tree that is being put together in `folder`."""

    id: str
    folder: Path
    rows: list[Row]
    seen: dict[str, Seen] = field(default_factory=dict)
    missing: dict[str, list[int]] = field(default_factory=dict)
    """Identity → the rows that wait for it."""


class Trees:
    """The trees of a store."""

    def __init__(self, store: Store, parts: Parts) -> None:
        self._store = store
        self._parts = parts
        self._records: dict[str, Record] = {}

    # --- what is there ---

    def record(self, id: str) -> Record | None:
        """What is remembered of a tree; None where it is not known or its folder is gone."""
        if id not in self._records:
            fresh, value = self._store.recall(self._store.trees / id)
            if value is None:
                return None
            rows: list[Row] = [(path, mode, size, content) for path, mode, size, content, *_ in value["rows"]]
            seen = {row[0]: Seen(row[2], row[4], row[5]) for row in value["rows"] if len(row) == 6}
            self._records[id] = Record(id, self._store.blobs / value["folder"], rows, seen, fresh)
        record = self._records[id]
        return record if record.folder.is_dir() else None

    def whole(self, record: Record) -> bool:
        """Whether the tree is what was written; after a reboot every file is hashed again."""
        if not all(_intact(record, row) for row in record.rows):
            return False
        if not record.fresh:
            record.fresh = True
            self._remember(record)
        return True

    def at(self, place: Path) -> Record | None:
        """The tree that a place leads to."""
        _, value = self._store.recall(self._store.places / place_key(str(place)))
        return self.record(value[1]) if value else None

    def lacking(self, rows: list[Row], place: Path | None) -> list[int]:
        """The rows (one an identity) that `build` would wait for. Changes nothing."""
        check(rows)
        sources = self._sources("", place)
        known = {
            row[3] for record in sources for row in record.rows if row[1] in _MODES and _intact(record, row)
        }
        lacking: dict[str, int] = {}
        for number, (_, mode, size, content) in enumerate(rows):
            if mode not in _MODES or content in known:
                continue
            if size < LARGE or self._parts.whole(content) is None:
                lacking.setdefault(content, number)
        return list(lacking.values())

    # --- making one ---

    def build(self, id: str, rows: list[Row], place: Path | None) -> Build:
        """Begin a tree from what is here: `missing` says what is to come. Raises Refused, OSError."""
        check(rows)
        if tree_id(rows) != id:
            raise Refused("wrong", "the list of files is not the one that its id says")
        build = Build(id, self._folder(id), rows)
        left = _sift(build)
        sources = self._sources(id, place)
        _make_folders(build)
        for number, row in enumerate(rows):
            if row[1] in _MODES and row[0] not in left and not self._take(build, row, sources):
                build.missing.setdefault(row[3], []).append(number)
        self._store.check_room(sum(rows[numbers[0]][2] for numbers in build.missing.values()))
        return build

    def write(self, build: Build, number: int, data: memoryview) -> None:
        """A small file that was sent. Raises Refused, OSError."""
        path, mode, size, content = build.rows[number]
        if len(data) != size or _identity_of(data) != content:
            raise Refused("damaged", f"{path!r} arrived damaged: its hash differs")
        if content not in build.missing:
            return
        handle = os.open(f"{build.folder}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODES[mode])
        try:
            while data:
                data = data[os.write(handle, data) :]
            build.seen[path] = Seen.of(os.fstat(handle))
        finally:
            os.close(handle)
        self._settle(build, content, number)

    def settle_large(self, build: Build) -> None:
        """Take the large files that have become whole since the build was begun."""
        for content, numbers in list(build.missing.items()):
            if self._take_whole(build, build.rows[numbers[0]]):
                self._settle(build, content, numbers[0])

    def publish(self, build: Build) -> Record:
        """Give a complete build its name. Raises Refused("incomplete"), OSError."""
        if build.missing:
            raise Refused("incomplete", f"{len(build.missing)} files are missing")
        for path, mode, _, content in build.rows:
            if mode == "link":
                (build.folder / path).symlink_to(content)
        build.folder.chmod(0o755)
        target = self._store.blobs / build.id
        number = 1
        while os.path.lexists(target):  # a damaged one, which somebody may still work in
            number += 1
            target = self._store.blobs / f"{build.id}.{number}"
        build.folder.rename(target)
        record = Record(build.id, target, build.rows, build.seen, fresh=True)
        self._records[build.id] = record
        self._remember(record)
        return record

    def link(self, record: Record, place: Path, inside: str = "") -> None:
        """Make a place lead to a tree, or to a file in it. Raises Refused where something else is there."""
        if place.exists() and not place.is_symlink():
            raise Refused("occupied", f"{place} is there, and was not put there by a sync")
        target = record.folder / inside if inside else record.folder
        if not (place.is_symlink() and os.readlink(place) == str(target)):  # noqa: PTH115
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_name(f"{place.name}.tmp-{os.getpid()}")
            partial.unlink(missing_ok=True)
            partial.symlink_to(target)
            partial.replace(place)
        self._store.remember(self._store.places / place_key(str(place)), [str(place), record.id])

    def discard(self, build: Build) -> None:
        """Forget a build that will not be finished."""
        shutil.rmtree(build.folder, ignore_errors=True)

    def _remember(self, record: Record) -> None:
        rows = [
            [*row, seen.mtime, seen.inode] if (seen := record.seen.get(row[0])) else list(row)
            for row in record.rows
        ]
        self._store.remember(self._store.trees / record.id, {"folder": record.folder.name, "rows": rows})

    def _folder(self, id: str) -> Path:
        """A folder of our own to build in; what a process that died has left of this tree is taken over."""
        folder = self._store.blobs / f"{id}.tmp-{os.getpid()}"
        for left in self._store.blobs.glob(f"{id}.tmp-*"):
            pid = left.name.rpartition("-")[2]
            if pid.isdigit() and not alive(int(pid)):
                with suppress(OSError):  # Another process was faster.
                    left.rename(folder)
                    break
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _sources(self, id: str, place: Path | None) -> list[Record]:
        """Trees that may hold what is wanted: itself, if it was damaged; the place's; the newest others."""
        here = self.at(place) if place else None
        names = [id, here.id if here else "", *_newest(self._store.trees, KEPT)]
        found = [self.record(name) for name in dict.fromkeys(filter(None, names))]
        return [record for record in found if record is not None]

    def _take(self, build: Build, row: Row, sources: Iterable[Record]) -> bool:
        """Get a file from another tree, or from the whole files."""
        path, mode, _, content = row
        for record in sources:
            if record.by_path.get(path) == row and _intact(record, row):
                build.seen[path] = _link(f"{record.folder}/{path}", f"{build.folder}/{path}", mode)
                return True
        if row[2] >= LARGE:
            return self._take_whole(build, row)
        for record in sources:
            same = record.by_content.get(content)
            if same and _intact(record, same):
                build.seen[path] = _copy(f"{record.folder}/{same[0]}", f"{build.folder}/{path}", mode)
                return True
        return False

    def _take_whole(self, build: Build, row: Row) -> bool:
        whole = self._parts.whole(row[3]) if row[2] >= LARGE else None
        if whole is None:
            return False
        build.seen[row[0]] = _link(str(whole.path), f"{build.folder}/{row[0]}", row[1])
        return True

    def _settle(self, build: Build, content: str, first: int) -> None:
        """The other rows that wait for the same bytes."""
        source = f"{build.folder}/{build.rows[first][0]}"
        for number in build.missing.pop(content):
            if number != first:
                path, mode, *_ = build.rows[number]
                build.seen[path] = _copy(source, f"{build.folder}/{path}", mode)


def alive(pid: int) -> bool:
    """Whether a process with that number runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


def _newest(folder: Path, most: int) -> list[str]:
    found = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if "." not in entry.name:
                with suppress(FileNotFoundError):
                    found.append((entry.stat().st_mtime_ns, entry.name))
    return [name for _, name in sorted(found, reverse=True)[:most]]


def _intact(record: Record, row: Row) -> bool:
    path, mode, size, content = row
    place = f"{record.folder}/{path}"
    try:
        found = os.lstat(place)
        if mode == "link":
            return stat.S_ISLNK(found.st_mode) and os.readlink(place) == content  # noqa: PTH115
        if mode == "folder":
            return stat.S_ISDIR(found.st_mode)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            return False
        if bool(found.st_mode & stat.S_IXUSR) != (mode == "exec"):
            return False
        seen = Seen.of(found)
        if record.fresh and record.seen.get(path) == seen:
            return True
        if _identity(place) != content:
            return False
    except OSError:
        return False
    record.seen[path] = seen
    return True


def _identity(place: str) -> str:
    with open(place, "rb") as file:  # noqa: PTH123
        return blocks.identity(blocks.digests(file.fileno(), os.fstat(file.fileno()).st_size))


def _identity_of(data: memoryview) -> str:
    pieces = range(0, len(data), blocks.BLOCK)
    return blocks.identity([blocks.digest(data[start : start + blocks.BLOCK]) for start in pieces])


def _sift(build: Build) -> set[str]:
    """What a build that was cut off has left: whole files are kept, everything else goes."""
    rows = {row[0]: row for row in build.rows}
    kept = set()
    for folder, _, names in os.walk(build.folder):
        for name in names:
            place = f"{folder}/{name}"
            path = os.path.relpath(place, build.folder)
            row, found = rows.get(path), os.lstat(place)
            mode = "exec" if found.st_mode & stat.S_IXUSR else "file"
            whole = row and stat.S_ISREG(found.st_mode) and row[1] == mode and _identity(place) == row[3]
            if whole:
                build.seen[path] = Seen.of(found)
                kept.add(path)
            else:
                os.unlink(place)  # noqa: PTH108
    return kept


def _make_folders(build: Build) -> None:
    wanted = {row[0].rpartition("/")[0] for row in build.rows} | {
        r[0] for r in build.rows if r[1] == "folder"
    }
    for folder in sorted(wanted):
        os.makedirs(f"{build.folder}/{folder}", exist_ok=True)  # noqa: PTH103


def _link(source: str, target: str, mode: str) -> Seen:
    """A hard link, or a copy where that cannot be (another mode, too many links, another file system)."""
    found = os.lstat(source)
    if bool(found.st_mode & stat.S_IXUSR) == (mode == "exec"):
        with suppress(OSError):
            os.link(source, target)
            return Seen.of(found)
    return _copy(source, target, mode)


def _copy(source: str, target: str, mode: str) -> Seen:
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODES[mode])
    try:
        clone(Path(source), handle, os.lstat(source).st_size)
        return Seen.of(os.fstat(handle))
    finally:
        os.close(handle)
