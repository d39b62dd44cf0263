"""The agent's worker in one process, with a stopwatch around its evaluation and its journal.

python -m benchmarks.generation_ours RUN… OUT: the runs one after the other. OUT becomes one JSON object, of
the last run: `cpu` and `wall` seconds of the evaluation (all batches: engine, grading, journal), and the wall
seconds of them spent in `Journal.append`.
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

taken: dict[str, float] = {}
appending = [0.0]


def tree_cpu() -> float:
    """CPU seconds so far of this process and of those that it has started and that live."""
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(t.user + t.system for t in (child.cpu_times() for child in children))


def put_stopwatches() -> None:
    """Around all batches of an evaluation, and around each append to the journal, the wait for the disk
    included. What the journal takes before and after the batches does not count."""
    run, append = Evaluation.run, Journal.append

    def timed_run(
        self: Evaluation, batches: Sequence[Sequence[Item]], suspects: Collection[Pair] = ()
    ) -> None:
        before = appending[0]
        cpu, wall = tree_cpu(), time.perf_counter()
        run(self, batches, suspects)
        taken["cpu"], taken["wall"] = tree_cpu() - cpu, time.perf_counter() - wall
        taken["journal"] = appending[0] - before

    def timed_append(self: Journal, records: Sequence[Record]) -> None:
        begin = time.perf_counter()
        append(self, records)
        appending[0] += time.perf_counter() - begin

    # On the classes: wherever they are made, they are watched.
    type.__setattr__(Evaluation, "run", timed_run)
    type.__setattr__(Journal, "append", timed_append)


if __name__ == "__main__":
    put_stopwatches()
    *runs, out = map(Path, sys.argv[1:])
    statuses = [worker.main(run) for run in runs]
    if not any(statuses) and not taken:
        sys.exit("no evaluation was timed: the benchmark no longer fits the worker")
    out.write_text(json.dumps(taken))
    sys.exit(max(statuses))
