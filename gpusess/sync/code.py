"""The code of a run: a folder as git sees it, with an id that is its content.

Tracked and new files go along as they stand on the disk, committed or not; what git ignores and what
`.gpusessignore` (gitignore syntax) names stays here. A folder without git is walked with the same syntax.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gpusess.errors import SyncError
from gpusess.sync import git
from gpusess.sync.tree import CHUNK, Entry, Skipped, content_id, in_order, read_entry, tar
from remote_agent.unpack import MANIFEST, safe_link

IGNORE_FILE = ".gpusessignore"
DEFAULT_SKIPS = (
    "__pycache__/",
    "*.pyc",
    ".venv/",
    "venv/",
    "node_modules/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".DS_Store",
)
"""Left out of a folder without git, and listed as skipped."""
LEVEL = 3
"""gzip: code is small, and a link is seldom slower than that."""


@dataclass(frozen=True)
class Provenance:
    """Which code this is, for the report of a run."""

    commit: str | None
    """None before the first commit."""
    dirty: bool
    diff: str | None
    """SHA-256 of `git diff HEAD` of this folder; None where tracked files are as committed."""


@dataclass(frozen=True)
class CodeTree:
    """What of a folder is sent."""

    root: Path
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    content_id: str
    """SHA-256 over paths, modes, sizes, contents and link targets."""
    provenance: Provenance | None
    """None without git."""

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.entries)

    @property
    def folder(self) -> str:
        """Where it belongs on the instance, relative to the session's folder."""
        return f"code/{self.content_id[:16]}"


def read_code(root: Path) -> CodeTree:
    """List and hash what of a folder is to be sent. Takes as long as reading it: call it in a thread.

    Raises:
        SyncError: not a folder, nothing in it to send, or git says no.
    """
    root = root.resolve()
    if not root.is_dir():
        raise SyncError(f"{root}: not a folder")
    tracked = git.has_work_tree(root)
    paths, skipped = _listed_by_git(root) if tracked else _listed_without(root)
    entries = _entries(root, paths, skipped)
    if not entries:
        hint = f"git or {IGNORE_FILE} ignores everything in it" if skipped or tracked else "it is empty"
        raise SyncError(f"{root}: holds no code to send", hint)
    ordered = in_order(entries)
    notes = tuple(sorted(skipped, key=lambda item: item.path))
    return CodeTree(root, ordered, notes, content_id(ordered), _provenance(root) if tracked else None)


def pack(tree: CodeTree) -> Iterator[bytes]:
    """The compressed tar stream for `unpack`: equal trees give equal bytes.

    Raises:
        SyncError: a file changed since `read_code`. The other side then keeps nothing.
    """
    press = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    waiting = bytearray()
    for block in tar(tree.root, tree.entries):
        waiting += press.compress(block)
        if len(waiting) >= CHUNK:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting) + press.flush()


def _listed_by_git(root: Path) -> tuple[set[str], list[Skipped]]:
    ours = f"--exclude-per-directory={IGNORE_FILE}"
    paths = set(git.lines(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"))
    ignored = paths & set(git.lines(root, "ls-files", "-z", "--cached", "--others", "--ignored", ours))
    return paths - ignored, [Skipped(path, IGNORE_FILE) for path in sorted(ignored)]


def _listed_without(root: Path) -> tuple[set[str], list[Skipped]]:
    """Git's own walk, with an empty repository that stands elsewhere: the ignore syntax is then the same."""
    ours = f"--exclude-per-directory={IGNORE_FILE}"
    defaults = [f"--exclude={pattern}" for pattern in DEFAULT_SKIPS]
    ignored = ("ls-files", "-z", "--others", "--ignored", "--directory")
    with tempfile.TemporaryDirectory(prefix="gpusess-") as folder:
        empty = Path(folder)
        git.lines(empty, "init", "--quiet", "--bare")
        paths = set(git.lines(root, "ls-files", "-z", "--others", ours, *defaults, empty=empty))
        by_default = set(git.lines(root, *ignored, *defaults, empty=empty))
        by_file = set(git.lines(root, *ignored, ours, empty=empty)) - by_default
    skipped = [Skipped(path, "left out by default") for path in by_default]
    return paths, skipped + [Skipped(path, IGNORE_FILE) for path in by_file]


def _entries(root: Path, paths: set[str], skipped: list[Skipped]) -> list[Entry]:
    entries = []
    parents: dict[str, bool] = {}
    for path in sorted(paths):
        if _below_link(root, path, parents):
            continue  # deleted, as far as git is concerned: the folder has become a link
        found = _entry(root, path)
        if isinstance(found, Entry):
            entries.append(found)
        elif found is not None:
            skipped.append(found)
    return entries


def _entry(root: Path, path: str) -> Entry | Skipped | None:
    """None: deleted since git listed it."""
    place = root / path
    try:
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            # Not Path.readlink: it would tidy the target up, and the id is over what is there.
            return _link(path, os.readlink(place))  # noqa: PTH115
        if stat.S_ISREG(mode):
            return Skipped(path, "a reserved name") if path == MANIFEST else read_entry(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SyncError(f"{place}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if stat.S_ISDIR(mode):
        return Skipped(path, "a repository of its own (submodule); its files are not sent")
    return Skipped(path, "neither a file nor a link")


def _link(path: str, target: str) -> Entry | Skipped:
    if safe_link(path, target):
        return Entry(path, "link", 0, target)
    return Skipped(path, "a link that leads out of the folder")


def _below_link(root: Path, path: str, known: dict[str, bool]) -> bool:
    for parent in PurePosixPath(path).parents:
        name = str(parent)
        if name not in known:
            known[name] = name != "." and (root / name).is_symlink()
        if known[name]:
            return True
    return False


def _provenance(root: Path) -> Provenance:
    commit = git.commit(root)
    dirty = any(git.lines(root, "status", "--porcelain", "-z", "--", "."))
    if commit is None:
        return Provenance(None, dirty, None)
    digest = hashlib.sha256()
    length = 0
    diff = ("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--", ".")
    for block in git.stream(root, *diff):
        digest.update(block)
        length += len(block)
    return Provenance(commit, dirty, digest.hexdigest() if length else None)
