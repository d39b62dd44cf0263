"""The agent's worker in one process, with a stopwatch around its evaluation and its journal.

python -m benchmarks.generation_ours RUN OUT: OUT becomes one JSON object: `cpu` and `wall` seconds of the
evaluation (all batches: engine, grading, journal), and the wall seconds of them spent in `Journal.append`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import psutil

from remote_agent import worker
from remote_agent.evaluation import Evaluation
from remote_agent.journal import Journal, Record
from remote_agent.plan import Item, Pair

taken = {"cpu": 0.0, "wall": 0.0, "journal": 0.0}
appending = [0.0]


def tree_cpu() -> float:
    """CPU seconds so far of this process and of those that it has started and that live."""
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(t.user + t.system for t in (child.cpu_times() for child in children))


class TimedEvaluation(Evaluation):
    """Notes what all batches took; what the journal took before and after them does not count."""

    def run(self, batches: Sequence[Sequence[Item]], suspects: Collection[Pair] = ()) -> None:
        before = appending[0]
        cpu, wall = tree_cpu(), time.perf_counter()
        super().run(batches, suspects)
        taken["cpu"], taken["wall"] = tree_cpu() - cpu, time.perf_counter() - wall
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
