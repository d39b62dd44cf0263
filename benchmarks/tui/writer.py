"""A mirror that grows: a process in the driver's place, which appends real journal lines at a steady pace.

python -m benchmarks.tui.writer FILE FIRST TOTAL RATE BATCH: appends the results FIRST … FIRST+TOTAL to FILE,
RATE a second, BATCH at a time. All lines are made before the first is written, so that writing takes little.
RATE 0: as fast as the disk takes them. Prints `ready` before it waits for a line on its standard input.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks import worlds
from remote_agent.journal import encode

OPENING = 3
"""Records that stand before the first result."""


def blocks(first: int, total: int, rate: float, batch: int, begin: float) -> list[bytes]:
    """`total` results in batches; each has the time at which it is due."""
    found = []
    for at in range(0, total, batch):
        numbers = range(first + at, first + min(at + batch, total))
        due = begin + (at / rate if rate else 0.0)
        found.append(b"".join(encode(worlds.result(n), OPENING + n, due) for n in numbers))
    return found


def main(file: Path, first: int, total: int, rate: float, batch: int) -> None:
    """Wait for the word, then write."""
    made = blocks(first, total, rate, batch, time.time() + 1.0)
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    with file.open("ab", buffering=0) as out:
        for i, block in enumerate(made):
            wait = begin + i * batch / rate - time.monotonic() if rate else 0.0
            if wait > 0:
                time.sleep(wait)
            out.write(block)
    print(f"{time.monotonic() - begin:.3f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
