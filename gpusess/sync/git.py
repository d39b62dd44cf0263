"""Calls of the `git` program: its answer, or a `SyncError` with its own words. Nothing is ever written."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gpusess.errors import SyncError

_NO_REPOSITORY = ("not a git repository", "must be run in a work tree")


class NoRepository(SyncError):
    """The folder is not (part of) a git work tree."""


def lines(root: Path, *args: str, empty: Path | None = None) -> list[str]:
    """The NUL-separated names that a call prints. `empty`: a bare repository to use, not the folder's."""
    where = () if empty is None else (f"--git-dir={empty}", f"--work-tree={root}")
    return [os.fsdecode(name) for name in b"".join(stream(root, *where, *args)).split(b"\0") if name]


def stream(root: Path, *args: str) -> Iterator[bytes]:
    """What a call prints, in pieces.

    Raises:
        NoRepository: the folder is in no work tree.
        SyncError: git is not installed, or says no.
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
        if process.returncode:
            errors.seek(0)
            words = errors.read(2000).decode(errors="replace").strip()
            if any(phrase in words for phrase in _NO_REPOSITORY):
                raise NoRepository(f"{root}: not a git repository")
            raise SyncError(f"git {args[0]} in {root}: {' '.join(words.split()) or 'failed'}")


def _environment() -> dict[str, str]:
    """Without the variables that a surrounding git (a hook) sets, and in English."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**keep, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
