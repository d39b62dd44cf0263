"""Files and folders that are sent as they are: models, checkpoints, data.

Links to files are followed, because a model folder of the hub's cache is made of them; nothing else is. The
stream is not compressed: weights do not shrink.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gpusess.errors import SyncError
from gpusess.sync.tree import Entry, Skipped, content_id, in_order, read_entry, tar
from remote_agent.unpack import MANIFEST

THREADS = 4
"""Files that are hashed at once."""


@dataclass(frozen=True)
class FileTree:
    """What of a file or folder is sent."""

    root: Path
    """The folder that the entries' paths start from."""
    single: bool
    """It is one file: `unpack --file` then makes the destination that file."""
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    content_id: str

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.entries)

    def unpack_args(self, dest: str) -> list[str]:
        """Arguments of the agent's `unpack`."""
        return [*(["--file"] if self.single else []), dest]


def read_files(path: Path) -> FileTree:
    """List and hash a file or folder. Takes as long as reading it: call it in a thread.

    Raises:
        SyncError: it is not there, cannot be read, is empty, or holds a socket, pipe or device.
    """
    skipped: list[Skipped] = []
    try:
        single = _is_file(path, path.name)
        root = path.parent if single else path
        names = [path.name] if single else list(_walk(root, skipped))
        with ThreadPoolExecutor(THREADS) as pool:
            entries = in_order(pool.map(lambda name: read_entry(root, name, follow=True), names))
    except FileNotFoundError as error:
        raise SyncError(f"{error.filename or path}: does not exist") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SyncError(f"{error.filename or path}: cannot be read: {reason}") from None
    if not entries:
        raise SyncError(f"{path}: holds no files to send")
    notes = tuple(sorted(skipped, key=lambda item: item.path))
    return FileTree(root, single, entries, notes, content_id(entries))


def pack(tree: FileTree) -> Iterator[bytes]:
    """The tar stream for `unpack`: equal trees give equal bytes.

    Raises:
        SyncError: a file changed since `read_files`. The other side then keeps nothing.
    """
    return tar(tree.root, tree.entries, follow=True)


def _walk(root: Path, skipped: list[Skipped]) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(root, onerror=stop):
        here = os.path.relpath(folder, root)
        prefix = "" if here == "." else f"{here}/"
        if not folders and not names:
            skipped.append(Skipped(prefix or ".", "an empty folder"))
        for name in sorted(folders):
            if Path(folder, name).is_symlink():
                skipped.append(Skipped(prefix + name, "a link to a folder"))
        for name in sorted(names):
            reason = _reason_to_skip(Path(folder, name), prefix + name)
            if reason:
                skipped.append(Skipped(prefix + name, reason))
            else:
                yield prefix + name


def _reason_to_skip(path: Path, name: str) -> str:
    if name == MANIFEST:
        return "a reserved name"
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    _is_file(path, name)
    return ""


def _is_file(path: Path, name: str) -> bool:
    """Whether it is a regular file, or leads to one. A folder is not; anything else is refused."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a socket" if stat.S_ISSOCK(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise SyncError(f"{name}: is {kind}; only files can be sent", "move it out of the folder")
    return stat.S_ISREG(mode)
