"""No orphan, proved: every step of launch and terminate × every fault × every provider.

`python -m tests.cloud.matrix` prints how many cells passed for each provider, step and fault, and as its last
line `N passed, M failed, K orphans`; it ends non-zero unless M and K are 0. A cell: a session is driven against a
simulated cloud on a frozen clock, one fault strikes one call (or kills us at one write to the store), a new process
recovers, and after every process the cloud's bill is held against the ledger.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpusess.providers import PROVIDERS
from gpusess.sessions.states import State
from gpusess.sessions.store import Store

from .client import Simulator
from .faults import BROKEN, REFUSED, Kind
from .matrix_actor import Stage, play, written
from .serve import CLOUDS

RECOVERIES = ("terminate", "resume")
"""What the user does after the fault: end the session, or go on with it and then end it."""


@dataclass(frozen=True)
class Cell:
    """One fault at one step. `phase` is launch or terminate; `step` the call's place in it, or the write's."""

    provider: str
    phase: str
    step: int
    op: str
    fault: str
    when: str
    recovery: str
    late: int = 0
    """Polls for which what the launch made stays unseen, beside the fault."""

    @property
    def name(self) -> str:
        late = f" and seen {self.late} polls later" if self.late else ""
        return (
            f"{self.provider} {self.phase} {self.step} ({self.op}): {self.fault} {self.when}{late}, then "
            f"{self.recovery}"
        )


@dataclass
class Outcome:
    cell: Cell
    failures: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    log: str = ""

    @property
    def passed(self) -> bool:
        return not self.failures and not self.orphans


def cells(provider: str, launch: list[str], terminate: list[str], writes: dict[str, int]) -> Iterator[Cell]:
    """All cells of a provider. `launch` and `terminate` are the calls of an undisturbed life, `writes` how many
    writes to the store each phase makes."""
    for phase, ops in (("launch", launch), ("terminate", terminate)):
        for step, op in enumerate(ops):
            for when, fault in itertools.product(("before", "after"), (*BROKEN, *REFUSED, Kind.JUMP)):
                for recovery in RECOVERIES:
                    yield Cell(provider, phase, step, op, str(fault), when, recovery)
            for recovery in RECOVERIES:
                if op == "launch":
                    yield Cell(provider, phase, step, op, str(Kind.LATE), "after", recovery, 3)
                    yield Cell(provider, phase, step, op, str(Kind.ERROR_THAT_CREATES), "after", recovery)
                    for fault in (*BROKEN, *REFUSED):
                        yield Cell(provider, phase, step, op, str(fault), "after", recovery, 3)
                if op == "terminate":
                    yield Cell(provider, phase, step, op, str(Kind.IGNORED), "before", recovery)
        for step, when, recovery in itertools.product(range(writes[phase]), ("before", "after"), RECOVERIES):
            yield Cell(provider, phase, step, "store", "killed at a write", when, recovery)


class Player:
    """Plays cells of one provider, one after the other, against one simulator."""

    def __init__(self, provider: str, folder: Path) -> None:
        self._folder = folder
        self._sim = Simulator(provider, folder / "sim", frozen=True, judge=False)
        self._provider = provider
        self._number = 0

    def close(self) -> None:
        self._sim.close()

    def clean_life(self) -> tuple[list[str], list[str], dict[str, int]]:
        """The calls of an undisturbed launch and terminate, and the writes of each."""
        stage = self._stage()
        calls, writes = {}, {}
        for phase in ("launch", "terminate"):
            self._sim.control("forget_calls")
            before = written(stage)
            status, log = play(stage, phase, None, None)
            assert status == 0, log
            calls[phase] = [c["op"] for c in self._sim.calls()]
            writes[phase] = written(stage) - before
        outcome = Outcome(Cell(self._provider, "launch", 0, "", "none", "", "terminate"))
        self._check_end(stage, outcome)
        assert outcome.passed, outcome
        return calls["launch"], calls["terminate"], writes

    def play(self, cell: Cell) -> Outcome:
        stage, outcome = self._stage(), Outcome(cell)
        try:
            if cell.phase == "terminate":
                self._act(stage, outcome, "launch")
            self._struck(stage, outcome, cell)
            if cell.recovery == "resume":
                self._act(stage, outcome, "resume")
            if _state(stage) is not State.TERMINATED:
                self._act(stage, outcome, "terminate")
            self._check_end(stage, outcome)
            log = stage.folder / "log"
            outcome.log = log.read_text() if log.exists() else ""
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)
        return outcome

    def _stage(self) -> Stage:
        self._number += 1
        folder = self._folder / f"cell-{self._number}"
        (folder / "data").mkdir(parents=True)
        self._sim.control("reset")
        return Stage(
            self._provider, folder, self._sim.origin, self._sim.folder / "clock", dict(self._sim.env)
        )

    def _struck(self, stage: Stage, outcome: Outcome, cell: Cell) -> None:
        """The phase in which the fault strikes."""
        fault: dict[str, Any] | None = {"kind": cell.fault, "nth": cell.step, "when": cell.when}
        commit = None
        if cell.op == "store":
            fault, commit = None, (cell.when, cell.step + 1)
        elif cell.fault in (Kind.IGNORED, Kind.ERROR_THAT_CREATES, Kind.LATE):
            fault = {
                "kind": cell.fault,
                "op": cell.op,
                "when": cell.when,
                "times": 2 if cell.op == "terminate" else 1,
            }
        if cell.late:
            self._sim.control("set", hidden=cell.late)
        status, log = play(stage, cell.phase, fault, commit)
        killed = cell.fault in (Kind.KILL, "killed at a write")
        if status not in ((0, -signal.SIGKILL) if killed else (0,)):
            outcome.failures.append(f"{cell.phase} ended with {status}: {log[-1500:]}")
        self._sim.control("disarm")
        self._check(stage, outcome, f"after the {cell.phase}")

    def _act(self, stage: Stage, outcome: Outcome, verb: str) -> None:
        status, log = play(stage, verb, None, None)
        if status != 0:
            outcome.failures.append(f"{verb} ended with {status}: {log[-1500:]}")
        self._check(stage, outcome, f"after {verb}")

    def _check(self, stage: Stage, outcome: Outcome, when: str) -> None:
        """Whatever bills is in the ledger as ours and billing; at most one does; others' things are as before."""
        billing = self._sim.billing()
        store = Store(stage.database)
        try:
            known = [r for r in store.ledger.rentals() if r.bills]
        finally:
            store.close()
        for machine in billing:
            mine = [r for r in known if machine["id"] == r.instance_id or machine["name"] == r.name]
            if not mine:
                outcome.orphans.append(f"{when}: {machine['name']} bills, and the ledger does not show it")
        if len(billing) > 1:
            outcome.failures.append(f"{when}: {len(billing)} instances bill at once")
        outcome.failures += [f"{when}: touched {t}" for t in self._sim.touched()]

    def _check_end(self, stage: Stage, outcome: Outcome) -> None:
        store = Store(stage.database)
        try:
            row = store.sessions()[0] if store.sessions() else None
            open_intents = [i for i in store.intents() if i.settled is None]
            open_rentals = [r for r in store.ledger.rentals() if r.bills]
        finally:
            store.close()
        for machine in self._sim.billing():
            outcome.orphans.append(f"at the end: {machine['name']} bills")
        if row is None or row.state is not State.TERMINATED:
            outcome.failures.append(
                f"the session ends {row.state if row else 'nowhere'}: {row.error if row else ''}"
            )
        if open_intents or open_rentals:
            outcome.failures.append(f"left open: {open_intents} {open_rentals}")


def _state(stage: Stage) -> State | None:
    store = Store(stage.database)
    try:
        rows = store.sessions()
        return rows[0].state if rows else None
    finally:
        store.close()


# --- many at once ---


def run(providers: list[str], workers: int, every: int = 1, only: str = "") -> list[Outcome]:
    """Play the cells (each `every`th of them) on so many processes."""
    folder = Path(tempfile.mkdtemp(prefix="matrix-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    context = multiprocessing.get_context("fork")
    try:
        work = [(p, folder / f"{p}-{w}", w, workers, every, only) for p in providers for w in range(workers)]
        outcomes: list[Outcome] = []
        with context.Pool(workers, maxtasksperchild=1) as pool:
            for part in pool.imap(_share, work, chunksize=1):
                outcomes += part
                if part:
                    done = f"{part[0].cell.provider}: {len(part)} cells, {sum(o.passed for o in part)} passed"
                    print(done, file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def _share(work: tuple[str, Path, int, int, int, str]) -> list[Outcome]:
    """One worker's part of a provider's cells."""
    provider, folder, worker, workers, every, only = work
    folder.mkdir(parents=True)
    player = Player(provider, folder)
    try:
        chosen = [c for c in cells(provider, *player.clean_life()) if only in c.name][::every]
        return [player.play(cell) for cell in chosen[worker::workers]]
    finally:
        player.close()


def report(outcomes: list[Outcome]) -> str:
    """The table, what went wrong, and the last line."""
    lines = []
    for provider in dict.fromkeys(o.cell.provider for o in outcomes):
        lines += [f"{provider}", *_table([o for o in outcomes if o.cell.provider == provider]), ""]
    for o in outcomes:
        if not o.passed:
            lines += [
                o.cell.name,
                *(f"    failed: {f}" for f in o.failures),
                *(f"    orphan: {f}" for f in o.orphans),
            ]
            lines += [f"    | {line}" for line in o.log.splitlines()[-25:]]
    passed = sum(o.passed for o in outcomes)
    orphans = sum(bool(o.orphans) for o in outcomes)
    failed = len(outcomes) - passed - sum(bool(o.orphans) and not o.failures for o in outcomes)
    return "\n".join([*lines, f"{passed} passed, {failed} failed, {orphans} orphans"])


def _table(outcomes: list[Outcome]) -> list[str]:
    """Steps down, faults across; a cell is how many passed, or passed/played."""
    faults = list(dict.fromkeys(f"{o.cell.fault}" for o in outcomes))
    steps = list(
        dict.fromkeys(
            (o.cell.phase, o.cell.step if o.cell.op != "store" else -1, o.cell.op) for o in outcomes
        )
    )
    played: Counter[Any] = Counter()
    passed: Counter[Any] = Counter()
    for o in outcomes:
        key = (o.cell.phase, o.cell.step if o.cell.op != "store" else -1, o.cell.op, o.cell.fault)
        played[key] += 1
        passed[key] += o.passed
    head = "step".ljust(26) + "".join(f.rjust(max(len(f), 5) + 2) for f in faults)
    lines = [head]
    for phase, step, op in steps:
        label = f"{phase} {step + 1}: {op}" if step >= 0 else f"{phase}: each write"
        row = label.ljust(26)
        for f in faults:
            n, p = played[phase, step, op, f], passed[phase, step, op, f]
            text = "" if not n else str(n) if n == p else f"{p}/{n}!"
            row += text.rjust(max(len(f), 5) + 2)
        lines.append(row)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cloud.matrix")
    parser.add_argument("--providers", default=",".join(p for p in CLOUDS if p in PROVIDERS))
    parser.add_argument("--every", type=int, default=1, help="play only each Nth cell")
    parser.add_argument("--only", default="", help="play only cells with this in their names")
    parser.add_argument("-j", type=int, default=min(os.cpu_count() or 1, 8), help="processes")
    args = parser.parse_args()
    began = time.monotonic()
    outcomes = run(args.providers.split(","), args.j, args.every, args.only)
    text = report(outcomes)
    *table, last = text.split("\n")
    print("\n".join(table))
    print(f"{len(outcomes)} cells in {time.monotonic() - began:.0f} s")
    print(last)
    return 0 if outcomes and all(o.passed for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
