"""What was synced and is of no use any more goes: trees without a place, parts that nobody continues. And a
place can be given its tree for good: what is removed there then frees the disk.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from remote_agent.syncing.parts import Parts
from remote_agent.syncing.rows import LARGE
from remote_agent.syncing.store import Refused, Store
from remote_agent.syncing.trees import KEPT, Trees, alive

PART_DAYS = 7
"""A part, or a large file that is in no tree, is kept that long for whoever continues."""


def collect(store: Store) -> None:
    """Remove trees beyond the newest few that no place leads to and no process works in, and old parts."""
    used = _used(store)
    records = sorted(store.trees.glob("*"), key=_age)
    unused = [path for path in records if "." not in path.name and path.name not in used]
    for number, path in enumerate(unused):
        _, value = store.recall(path)
        folder = store.blobs / value["folder"] if value else store.blobs / path.name
        large = bool(value) and any(row[2] >= LARGE for row in value["rows"])
        if (number >= KEPT or large) and not _worked_in(folder):
            path.unlink(missing_ok=True)
            _remove(folder)
    _remove_left(store)


def own(store: Store, trees: Trees, parts: Parts, place: Path) -> None:
    """Make a place that leads to a tree a folder of its own, with the same files. Raises Refused, OSError."""
    record = trees.at(place)
    if record is None or not place.is_symlink() or os.readlink(place) != str(record.folder):  # noqa: PTH115
        raise Refused("missing", f"{place} was not put there by a sync")
    aside = place.with_name(f".{place.name}.part.own")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(record.folder, aside, symlinks=True, copy_function=_link_or_copy)
    place.unlink()
    aside.rename(place)
    collect(store)
    for _, mode, size, content in record.rows:
        if mode in ("file", "exec") and size >= LARGE:
            parts.release(content)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _used(store: Store) -> set[str]:
    """Trees that a place leads to; places that are gone are forgotten."""
    used = set()
    for path in store.places.glob("*"):
        _, value = store.recall(path)
        if value is None:
            continue
        place, id = value
        try:
            target = os.readlink(place)  # noqa: PTH115
        except OSError:
            path.unlink(missing_ok=True)
            continue
        if target.startswith(str(store.blobs / id)):
            used.add(id)
    return used


def _worked_in(folder: Path) -> bool:
    """Whether the working folder of a process lies in a tree."""
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if Path(os.readlink(entry)).is_relative_to(folder):  # noqa: PTH115
                return True
    return False


def _remove(folder: Path) -> None:
    """Rename first, so that nobody sees it half removed."""
    trash = folder.with_name(f"{folder.name}.trash-{os.getpid()}")
    with suppress(FileNotFoundError):
        folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def _remove_left(store: Store) -> None:
    old = time.time() - PART_DAYS * 86400
    for path in (*store.parts.iterdir(), *store.files.iterdir()):
        with suppress(FileNotFoundError):
            found = path.stat()
            if path.suffix == ".blocks":
                if not path.with_suffix("").exists():
                    path.unlink()
            elif found.st_nlink == 1 and found.st_mtime < old:
                path.unlink()
    for path in store.blobs.glob("*.t[mr]*-*"):
        pid = path.name.rpartition("-")[2]
        trash = ".trash-" in path.name
        if pid.isdigit() and not alive(int(pid)) and (trash or path.stat().st_mtime < old):
            shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    with suppress(FileNotFoundError):
        return -path.stat().st_mtime
    return 0.0
