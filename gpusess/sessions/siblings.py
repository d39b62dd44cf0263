"""The same sample in other runs at home. Their indexes are kept open between looks; one thread at a time
looks.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from gpusess.sessions.result_index import ResultIndex

AT_ONCE = 64 << 20
"""A journal of which more than that is not indexed yet is not read just for one sample."""
KEPT = 16


@dataclass(frozen=True, slots=True)
class There:
    """What another run says of a sample; `note`: why it says nothing."""

    verdict: str = ""
    extracted: str | None = None
    note: str = ""


class Siblings:
    """Indexes by the run's folder."""

    def __init__(self) -> None:
        self._indexes: dict[Path, ResultIndex] = {}
        self._lock = threading.Lock()

    def look(self, folder: Path, sample: str, candidate: int) -> There:
        with self._lock:
            index = self._indexes.pop(folder, None) or ResultIndex(folder)
            self._indexes[folder] = index  # the newest last
            while len(self._indexes) > KEPT:
                self._indexes.pop(next(iter(self._indexes))).close()
            if index.waiting > AT_ONCE:
                return There(note="not read yet: d holds it beside this one")
            index.read_all()
            row = index.find(sample, candidate)
            if row is None:
                return There(note="not in that run" if not index.damage else "its copy is damaged")
            frame, at = index.frame_of(row)
            return There(frame.kinds[frame.number("kind", at)].verdict, frame.texts("extracted")[at])
