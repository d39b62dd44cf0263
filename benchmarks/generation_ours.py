"""The agent's worker in one process, with a stopwatch around its evaluation and its journal.

python -m benchmarks.generation_ours RUN OUT: OUT becomes one JSON object: `cpu` and `wall` seconds of the
evaluation (all batches: engine, grading, journal), and the wall seconds of them spent in `Journal.append`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from remote_agent import worker
from remote_agent.evaluation import Evaluation
from remote_agent.journal import Journal, Record
from remote_agent.plan import Item

taken = {"cpu": 0.0, "wall": 0.0, "journal": 0.0}
appending = [0.0]


class TimedEvaluation(Evaluation):
    """Notes what all batches took; what the journal took before and after them does not count."""

    def run(self, batches: Sequence[Sequence[Item]]) -> None:
        before = appending[0]
        cpu, wall = time.process_time(), time.perf_counter()
        super().run(batches)
        taken["cpu"], taken["wall"] = time.process_time() - cpu, time.perf_counter() - wall
        taken["journal"] = appending[0] - before


class TimedJournal(Journal):
    """Notes the wall time of its appends, the wait for the disk included."""

    def append(self, records: Sequence[Record]) -> None:
        begin = time.perf_counter()
        super().append(records)
        appending[0] += time.perf_counter() - begin


if __name__ == "__main__":
    vars(worker).update(Evaluation=TimedEvaluation, Journal=TimedJournal)
    status = worker.main(Path(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(taken))
    sys.exit(status)
