"""Runs on the instance, from its standard input: a worker's place, writing results at a steady pace.

python3 - RUN TOTAL RATE BATCH: appends TOTAL results to RUN/journal.jsonl through the agent's own Journal,
BATCH at a time, RATE a second, and a heartbeat each 2 s to RUN/events.jsonl. At the end a JSON line for each
batch: `[results so far, the journal's length, when it was handed over, when it was durable]`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from remote_agent.journal import Journal

START_DELAY = 1.0
HEARTBEAT = 2.0


def main(run: Path, total: int, rate: float, batch: int) -> None:
    """Write everything; a batch that is late is written at once, so that the pace is kept on the whole."""
    templates: dict[str, Any] = json.loads((run / "templates.json").read_text())
    moments: list[tuple[int, int, float, float]] = []
    with Journal(run / "journal.jsonl") as journal, Journal(run / "events.jsonl") as events:
        journal.append(templates["opening"])
        start = time.time() + START_DELAY
        beats = 0
        for done in range(0, total, batch):
            due = start + done / rate
            time.sleep(max(0.0, due - time.time()))
            if time.time() >= start + beats * HEARTBEAT:
                events.append([templates["heartbeat"]])
                beats += 1
            records = [
                {**templates["result"], "sample": f"test-{number:06}"}
                for number in range(done, min(done + batch, total))
            ]
            handed = time.time()
            journal.append(records)
            moments.append((done + len(records), journal.length, handed, time.time()))
    for moment in moments:
        print(json.dumps(moment))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
