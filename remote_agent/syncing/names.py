"""Which names and links may come in: those that stay inside the folder that they start from.

Both sides ask here, the instance for what it is sent and home for what it fetches.
"""

from __future__ import annotations

from pathlib import PurePosixPath


def safe_path(path: str) -> bool:
    """Whether a path is relative, in its normal form, and stays inside the folder it starts from."""
    if not path or "\0" in path or path[0] == "/" or path[-1] == "/":
        return False
    return not any(part in ("", ".", "..") for part in path.split("/"))


def safe_link(path: str, target: str) -> bool:
    """Whether a link at `path` stays inside the folder.

    `..` is allowed only at the start of the target, where it climbs real folders; after the name of another
    link it could climb from somewhere else.
    """
    if not target or "\0" in target or target.startswith("/"):
        return False
    parts = target.split("/")
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    return climbs < len(PurePosixPath(path).parts) and ".." not in parts[climbs:]
