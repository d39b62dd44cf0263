"""The code of a run: a folder as git sees it, with an id that is its content.

Tracked and new files go along as they stand on the disk, committed or not, those of submodules too; what git
ignores and what `.gpusessignore` (gitignore syntax) names stays here. A folder without git is walked with the
same syntax.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gpusess.errors import SyncError
from gpusess.sync import git
from gpusess.sync.index import Index
from gpusess.sync.tree import Entry, Kept, Skipped, content_id, file_entries, in_order
from remote_agent.syncing.names import safe_link, safe_path

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
_GITLINK = "160000 "
"""The mode of a submodule in git's index."""


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
    """The id of the entries: paths, modes, sizes, contents and link targets."""
    index: Index
    kept: Kept
    follow = False
    single = False

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.entries)


def read_code(root: Path, index: Index | None = None) -> CodeTree:
    """List and hash what of a folder is to be sent. Takes as long as reading it: call it in a thread.

    `index`: what is known of the folder's files from before; they are not read again.

    Raises:
        SyncError: not a folder, nothing in it to send, or git says no.
    """
    root = root.resolve()
    if not root.is_dir():
        raise SyncError(f"{root}: not a folder")
    index = Index() if index is None else index
    tracked = True
    try:
        paths, skipped = _listed_by_git(root)
    except git.NoRepository:
        tracked = False
        paths, skipped = _listed_without(root)
    kept = Kept()
    entries = _entries(root, paths, skipped, index, kept)
    if not entries:
        hint = f"git or {IGNORE_FILE} ignores everything in it" if skipped or tracked else "it is empty"
        raise SyncError(f"{root}: holds no code to send", hint)
    ordered = in_order(entries)
    notes = tuple(sorted(skipped, key=lambda item: item.path))
    return CodeTree(root, ordered, notes, content_id(ordered), index, kept)


def read_provenance(root: Path) -> Provenance | None:
    """Which code a folder holds; None without git. Raises SyncError: git says no."""
    try:
        found = git.lines(root, "status", "--porcelain=v2", "--branch", "-z", "--", ".")
    except git.NoRepository:
        return None
    commit = next(line.removeprefix("# branch.oid ") for line in found if line.startswith("# branch.oid "))
    dirty = any(not line.startswith("#") for line in found)
    if commit == "(initial)":
        return Provenance(None, dirty, None)
    digest = hashlib.sha256()
    length = 0
    if dirty:
        diff = ("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color")
        for block in git.stream(root, *diff, "--submodule=diff", "--", "."):
            digest.update(block)
            length += len(block)
    return Provenance(commit, dirty, digest.hexdigest() if length else None)


def _listed_by_git(root: Path) -> tuple[set[str], list[Skipped]]:
    """What git tracks or would, and the folders that hold nothing at all (git names them with a `/`)."""
    calls = (("-t", "--stage", "--cached", "--others"), ("--others", "--directory"))
    with ThreadPoolExecutor(len(calls)) as pool:
        tagged, folders = pool.map(
            lambda call: git.lines(root, "ls-files", "-z", *call, "--exclude-standard"), calls
        )
    listed, modules = _tracked_or_new(tagged)
    paths = set(listed) | _bare_folders(root, listed, folders)
    ignored = set[str]()
    if _has_ignore_file(root, paths):
        ours = f"--exclude-per-directory={IGNORE_FILE}"
        ignored = paths & set(git.lines(root, "ls-files", "-z", "--cached", "--others", "--ignored", ours))
    skipped = [Skipped(path, IGNORE_FILE) for path in ignored]
    for module in modules - ignored:
        inner, left = _listed_in_module(root, module)
        paths |= inner
        skipped += left
    return paths - ignored - modules, skipped


def _tracked_or_new(tagged: list[str]) -> tuple[list[str], set[str]]:
    """Paths, and those of submodules: lines are `? PATH` or `H MODE HASH STAGE`, a tab, and the path."""
    listed: list[str] = []
    modules: set[str] = set()
    for line in tagged:
        if line.startswith("? "):
            listed.append(line[2:])
            continue
        facts, _, path = line.partition("\t")
        listed.append(path)
        if facts[2:].startswith(_GITLINK):
            modules.add(path)
    return listed, modules


def _listed_in_module(root: Path, module: str) -> tuple[set[str], list[Skipped]]:
    """The same of a submodule's own repository."""
    if not os.path.lexists(f"{root}/{module}/.git"):
        return set(), [Skipped(module, "a submodule that is not checked out")]
    try:
        paths, skipped = _listed_by_git(root / module)
    except SyncError as error:
        return set(), [Skipped(module, f"a submodule that cannot be read: {error.message}")]
    return {f"{module}/{path}" for path in paths}, [
        Skipped(f"{module}/{item.path}", item.reason) for item in skipped
    ]


def _has_ignore_file(root: Path, paths: set[str]) -> bool:
    folders = {path.rpartition("/")[0] for path in paths}
    return any(os.path.lexists(f"{root}/{folder}/{IGNORE_FILE}") for folder in folders)


def _bare_folders(root: Path, files: list[str], folders: list[str]) -> set[str]:
    """The innermost folders that hold no file, with a `/`: `folders` are those that git has nothing of."""
    parents = {parent for path in files for parent in _parents(path)}
    found: set[str] = set()
    waiting = [name for name in folders if name.endswith("/")]
    while waiting:
        folder = waiting.pop()
        if folder in parents:
            with os.scandir(root / folder) as entries:
                waiting += [f"{folder}{e.name}/" for e in entries if e.is_dir(follow_symlinks=False)]
        elif leaves := _leaves(root, folder):
            found.update(leaves)
    return found


def _parents(path: str) -> Iterator[str]:
    at = path.rfind("/")
    while at > 0:
        yield path[: at + 1]
        at = path.rfind("/", 0, at)


def _leaves(root: Path, folder: str) -> list[str] | None:
    """The innermost folders below one that holds no file; None where it holds one."""
    leaves: list[str] = []
    for place, inner, names in os.walk(root / folder):
        if names or any(Path(place, name).is_symlink() for name in inner):
            return None
        if not inner:
            leaves.append(f"{os.path.relpath(place, root)}/")
    return leaves


def _listed_without(root: Path) -> tuple[set[str], list[Skipped]]:
    """Git's own walk, with an empty repository that stands elsewhere: the ignore syntax is then the same."""
    ours = f"--exclude-per-directory={IGNORE_FILE}"
    defaults = [f"--exclude={pattern}" for pattern in DEFAULT_SKIPS]
    ignored = ("ls-files", "-z", "--others", "--ignored", "--directory")
    with tempfile.TemporaryDirectory(prefix="gpusess-") as folder:
        empty = Path(folder)
        git.lines(empty, "init", "--quiet", "--bare")
        listing = ("ls-files", "-z", "--others", ours, *defaults)
        files = git.lines(root, *listing, empty=empty)
        folders = git.lines(root, *listing, "--directory", empty=empty)
        by_default = set(git.lines(root, *ignored, *defaults, empty=empty))
        by_file = set(git.lines(root, *ignored, ours, empty=empty)) - by_default
    # Git names a folder of which all is ignored, and what is in it too.
    by_file = {
        path for path in by_file if not any(parent in by_file for parent in _parents(path.rstrip("/")))
    }
    skipped = [Skipped(path, "left out by default") for path in by_default]
    paths = set(files) | _bare_folders(root, files, folders)
    return paths, skipped + [Skipped(path, IGNORE_FILE) for path in by_file]


def _entries(root: Path, paths: set[str], skipped: list[Skipped], index: Index, kept: Kept) -> list[Entry]:
    entries: list[Entry] = []
    files: list[tuple[str, os.stat_result]] = []
    parents: dict[str, bool] = {}
    for path in sorted(paths):
        if _below_link(root, path, parents):
            continue  # deleted, as far as git is concerned: the folder has become a link
        found = _look(root, path)
        if isinstance(found, os.stat_result):
            files.append((path, found))
        elif isinstance(found, Entry):
            entries.append(found)
        elif found is not None:
            skipped.append(found)
    try:
        return entries + file_entries(root, files, index, kept, follow=False, defer=False)
    except FileNotFoundError as error:
        raise SyncError(f"{error.filename}: vanished while it was read", "start the sync again") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SyncError(f"{error.filename or root}: cannot be read: {reason}") from None


def _look(root: Path, path: str) -> os.stat_result | Entry | Skipped | None:
    """A file as its stat, anything else as what becomes of it; None: deleted since git listed it."""
    place = f"{root}/{path}"
    try:
        found = os.lstat(place)
        if stat.S_ISREG(found.st_mode):
            return found
        if stat.S_ISLNK(found.st_mode):
            # Not Path.readlink: it would tidy the target up, and the id is over what is there.
            return _link(path, os.readlink(place))  # noqa: PTH115
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SyncError(f"{place}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISDIR(found.st_mode):
        return Skipped(path, "neither a file nor a link")
    if not path.endswith("/"):
        return None  # A folder in the place of a tracked file: what is in it is listed by itself.
    if _leaves(root, path):
        return Entry(path.rstrip("/"), "folder", 0, "")
    return Skipped(path, "a repository of its own, which is no submodule; its files are not sent")


def _link(path: str, target: str) -> Entry | Skipped:
    if safe_link(path, target):
        return Entry(path, "link", 0, target)
    if not target.startswith("/") and safe_path(os.path.normpath(f"{path}/../{target}")):
        return Skipped(path, "a link with `..` behind another name: it may lead out of the folder")
    return Skipped(path, "a link that leads out of the folder")


def _below_link(root: Path, path: str, known: dict[str, bool]) -> bool:
    parent = path.rstrip("/").rpartition("/")[0]
    if parent not in known:
        below = bool(parent) and _below_link(root, parent, known)
        known[parent] = below or (bool(parent) and (root / parent).is_symlink())
    return known[parent]
