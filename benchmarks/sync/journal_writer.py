"""Appends records to a journal at a pace, or as fast as it can, and says when which length could be read.

python -m benchmarks.sync.journal_writer FOLDER TOTAL RATE BATCH BYTES: after a line on stdin, TOTAL
records of about BYTES each go to FOLDER/journal.jsonl. RATE 0: no pauses. At the end one JSON line with an
entry for each batch: `[the journal's length, when it was written, when it was durable]`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remote_agent.journal import Journal, encode


class TimedJournal(Journal):
    """Notes when a batch is in the file, where tail can read it, and when it is durable."""

    def __init__(self, path: Path) -> None:
        self.moments: list[tuple[int, float, float]] = []
        self._written = 0.0
        super().__init__(path)

    def _write(self, data: bytes) -> None:
        super()._write(data)
        self._written = time.time()

    def _publish(self) -> None:
        self.moments.append((self.length, self._written, time.time()))
        super()._publish()


class RawJournal(TimedJournal):
    """The same file without encoding and without waiting for the disk: faster than any reader."""

    def append(self, records: Sequence[Any]) -> None:
        data = b"".join(records)
        self._write(data)
        self.length += len(data)
        self._publish()


def main(folder: Path, total: int, rate: float, batch: int, size: int) -> None:
    """Write everything; a batch that is late is written at once, so that the pace is kept on the whole."""
    record = {"kind": "phase", "name": "evaluate", "detail": "x" * (size - 95)}
    made = [encode(record, seq, 1e9) for seq in range(total)] if not rate else [record] * total
    with (TimedJournal if rate else RawJournal)(folder / "journal.jsonl") as journal:
        print("ready", flush=True)
        sys.stdin.readline()
        journal.moments.clear()
        start = time.time()
        for done in range(0, total, batch):
            if rate:
                time.sleep(max(0.0, start + done / rate - time.time()))
            journal.append(made[done : done + batch])
    print(json.dumps(journal.moments))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
