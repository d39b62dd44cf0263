"""Calls of the `git` program: its answer, or a `SyncError` with its own words. Nothing is ever written."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gpusess.errors import SyncError

_NO_REPOSITORY = "not a git repository"


def has_work_tree(root: Path) -> bool:
    """Whether the folder is (part of) a work tree.

    Raises:
        SyncError: git is not installed, or refuses the folder (another owner's repository).
    """
    try:
        return _output(root, "rev-parse", "--is-inside-work-tree").strip() == b"true"
    except SyncError as error:
        if _NO_REPOSITORY in error.message:
            return False
        raise


def commit(root: Path) -> str | None:
    """The commit that is checked out, or None before the first one."""
    names = _output(root, "rev-parse", "--verify", "--quiet", "HEAD", allowed=(0, 1))
    return names.decode().strip() or None


def lines(root: Path, *args: str, empty: Path | None = None) -> list[str]:
    """The NUL-separated names that a call prints. `empty`: a bare repository to use, not the folder's."""
    where = () if empty is None else (f"--git-dir={empty}", f"--work-tree={root}")
    return [os.fsdecode(name) for name in _output(root, *where, *args).split(b"\0") if name]


def _output(root: Path, *args: str, allowed: tuple[int, ...] = (0,)) -> bytes:
    return b"".join(stream(root, *args, allowed=allowed))


def stream(root: Path, *args: str, allowed: tuple[int, ...] = (0,)) -> Iterator[bytes]:
    """What a call prints, in pieces.

    Raises:
        SyncError: git is not installed, or it ended with a code that is not `allowed`.
    """
    command = ["git", "-C", str(root), *args]
    # A file takes what git says of errors: a pipe that nobody reads could fill up and stop it.
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=_environment())
        except FileNotFoundError:
            raise SyncError(
                "git is not installed here", "install git: it tells which files are code"
            ) from None
        with process:
            assert process.stdout is not None
            while block := process.stdout.read(1 << 16):
                yield block
        if process.returncode not in allowed:
            errors.seek(0)
            words = errors.read(2000).decode(errors="replace").strip()
            raise SyncError(f"git {args[0]} in {root}: {' '.join(words.split()) or 'failed'}")


def _environment() -> dict[str, str]:
    """Without the variables that a surrounding git (a hook) sets, and in English."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**keep, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
