"""What is checked over several fields, and on the disk.

These checks read the plain document, not the models, so that they speak also where another field is
wrong: a user sees everything at once.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from gpusess.spec.document import Document, Loc, printable
from gpusess.spec.models import looks_secret


def check_fields(document: Document) -> None:
    """What two fields say about each other."""
    _unique_names(document)
    _push_targets(document)
    _secrets(document)
    if document.at("setup", "python") and document.at("setup", "requirements"):
        text = "given together with `python`; allowed: only without it, for the environment that is made"
        document.add(("setup", "requirements"), text)


def check_files(document: Document, base: Path) -> None:
    """What is to be sent must be there, and be readable."""
    _exists(document, ("sync", "code"), base, folder=True)
    for index, _ in enumerate(document.items("sync", "push")):
        _exists(document, ("sync", "push", index, "from"), base, folder=None)
    for index, _ in enumerate(document.items("runs")):
        run: Loc = ("runs", index)
        _exists(document, (*run, "task", "path"), base, folder=False)
        _exists(document, (*run, "engine", "path"), base, folder=False)
        model = document.at(*run, "model")
        if isinstance(model, str) and model.startswith(("./", "../")):
            _exists(document, (*run, "model"), base, folder=True)


def _unique_names(document: Document) -> None:
    seen: dict[str, int] = {}
    for index, _ in enumerate(document.items("runs")):
        place: Loc = ("runs", index, "name")
        name = document.at(*place)
        if isinstance(name, str) and name in seen:
            text = f"found '{printable(name, 60)}' again (first in line {seen[name]}); allowed: a name once"
            document.add(place, text)
        elif isinstance(name, str):
            seen[name] = document.line(place)


def _push_targets(document: Document) -> None:
    seen: dict[PurePosixPath, int] = {}
    for index, _ in enumerate(document.items("sync", "push")):
        place: Loc = ("sync", "push", index, "to")
        value = document.at(*place)
        if not isinstance(value, str):
            continue
        target = PurePosixPath(value)
        for other, line in seen.items():
            if target == other or other in target.parents or target in other.parents:
                text = (
                    f"found '{printable(value, 60)}', which overlaps with line {line}; allowed: targets apart"
                )
                document.add(place, text)
                break
        seen.setdefault(target, document.line(place))


def _secrets(document: Document) -> None:
    env = document.at("env")
    for name, value in env.items() if isinstance(env, dict) else ():
        if looks_secret(name, value):
            text = "its name says that it is a secret (not shown here); allowed: its name under `secrets:`"
            document.add(("env", name), text)


def _exists(document: Document, place: Loc, base: Path, *, folder: bool | None) -> None:
    """`folder`: True for a folder, False for a file, None for either."""
    value = document.at(*place)
    if not isinstance(value, str) or not value:
        return
    path = base / value
    wanted = {True: "a folder", False: "a file", None: "a file or folder"}[folder]
    reason = _trouble(path, folder)
    if reason:
        document.add(
            place, f"found '{printable(value, 200)}', {reason}; allowed: {wanted} relative to the spec"
        )


def _trouble(path: Path, folder: bool | None) -> str:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "which does not exist"
    except (OSError, ValueError) as error:
        return f"which cannot be looked at ({getattr(error, 'strerror', None) or 'not a path'})"
    is_folder, is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
    if folder is True and not is_folder:
        return "which is not a folder"
    if folder is False and not is_file:
        return "which is not a file"
    if not (is_folder or is_file):
        return "which is neither a file nor a folder"
    return "" if os.access(path, os.R_OK) else "which you may not read"
