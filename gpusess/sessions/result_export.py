"""Writing results out of a mirror: their own lines, byte for byte, into a new file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gpusess.errors import SessionError
from gpusess.sessions.result_index import ResultIndex


def export(folder: Path, target: Path, rows: Iterable[int] | None = None) -> int:
    """Write the records of these rows (None: of all) as JSONL; returns how many. Raises SessionError where
    the file exists or cannot be written; what was written of it then is taken away."""
    with ResultIndex(folder, keep=False) as index:
        index.read_all()
        chosen = range(index.rows) if rows is None else rows
        try:
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            raise SessionError(f"{target} exists", "name another file; nothing was overwritten") from None
        except OSError as exc:
            raise SessionError(f"{target}: {exc.strerror}", "name another file") from None
        count = 0
        try:
            with os.fdopen(fd, "wb") as file:
                for row in chosen:
                    file.write(index.line(row).rstrip(b"\n") + b"\n")
                    count += 1
        except (OSError, IndexError) as exc:
            target.unlink(missing_ok=True)
            raise SessionError(f"{target}: {exc}", "nothing was written") from None
    return count
