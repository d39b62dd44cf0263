"""The agent's worker in one process, with a stopwatch around its steps, its journal and its checkpoints.

python -m benchmarks.train.pace_ours RUN OUT: OUT becomes a JSON object, see `stopwatch.py`; `journal` is the
wall seconds inside `Journal.append` while steps were timed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.train.stopwatch import Stopwatch
from remote_agent import worker
from remote_agent.journal import Journal, Record

inside = [0.0]


class TimedJournal(Journal):
    """Notes the wall time of its appends of steps, the wait for the disk included."""

    def append(self, records: Sequence[Record]) -> None:
        begin = time.perf_counter()
        super().append(records)
        if any(record["kind"] == "step" for record in records):
            inside[0] += time.perf_counter() - begin


if __name__ == "__main__":
    run = Path(sys.argv[1])
    order = worker.read_order(run)
    from remote_agent.engines import environment

    environment.settle(order)
    from remote_agent.training.trainers import Supervised

    watch = Stopwatch(order.train.accumulate if order.train else 1)
    watch.attach(Supervised)
    vars(worker).update(Journal=TimedJournal)
    status = worker.main(run)
    Path(sys.argv[2]).write_text(json.dumps({**watch.facts(), "journal": inside[0]}))
    sys.exit(status)
