"""Files and folders that are sent as they are: models, checkpoints, data.

Links to files are followed, because a model folder of the hub's cache is made of them; nothing else is. Large
files are not hashed here: that is done while they are sent.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from gpusess.errors import SyncError
from gpusess.sync.index import Index
from gpusess.sync.tree import Entry, Kept, Skipped, file_entries, in_order


@dataclass(frozen=True)
class FileTree:
    """What of a file or folder is sent."""

    root: Path
    """The folder that the entries' paths start from."""
    single: bool
    """It is one file: the place that it is sent to is then that file."""
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    index: Index
    kept: Kept
    follow = True

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.entries)


def read_files(path: Path, index: Index | None = None) -> FileTree:
    """List a file or folder, and hash its small files. Takes as long as reading those: call it in a thread.

    `index`: what is known of the files from before; they are not read again.

    Raises:
        SyncError: it is not there, cannot be read, is empty, or holds a socket, pipe or device.
    """
    skipped: list[Skipped] = []
    index = Index() if index is None else index
    try:
        single = _is_file(path.stat(), path.name)
        root = path.parent if single else path
        found = [(path.name, path.stat())] if single else []
        folders: list[Entry] = []
        if not single:
            _walk(root, found, folders, skipped)
        kept = Kept()
        files = file_entries(root, found, index, kept, follow=True, defer=True)
        entries = in_order([*folders, *files])
    except FileNotFoundError as error:
        raise SyncError(f"{error.filename or path}: does not exist") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SyncError(f"{error.filename or path}: cannot be read: {reason}") from None
    if not found:
        raise SyncError(f"{path}: holds no files to send")
    notes = tuple(sorted(skipped, key=lambda item: item.path))
    return FileTree(root, single, entries, notes, index, kept)


def _walk(
    root: Path, files: list[tuple[str, os.stat_result]], folders: list[Entry], skipped: list[Skipped]
) -> None:
    def stop(error: OSError) -> None:
        raise error

    for folder, inner, names in os.walk(root, onerror=stop):
        here = os.path.relpath(folder, root)
        prefix = "" if here == "." else f"{here}/"
        if prefix and not inner and not names:
            folders.append(Entry(here, "folder", 0, ""))
        for name in sorted(inner):
            if Path(folder, name).is_symlink():
                skipped.append(Skipped(prefix + name, "a link to a folder"))
        for name in sorted(names):
            place = Path(folder, name)
            if place.is_symlink() and not place.exists():
                skipped.append(Skipped(prefix + name, "a link to nothing"))
                continue
            found = place.stat()
            if _is_file(found, prefix + name):
                files.append((prefix + name, found))


def _is_file(found: os.stat_result, name: str) -> bool:
    """Whether it is a regular file, or leads to one. A folder is not; anything else is refused."""
    mode = found.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a socket" if stat.S_ISSOCK(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise SyncError(f"{name}: is {kind}; only files can be sent", "move it out of the folder")
    return stat.S_ISREG(mode)
