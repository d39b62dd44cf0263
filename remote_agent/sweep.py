"""One attempt at a sweep: each checkpoint of a folder, and the base model, on the same samples.

Each of them is an evaluation of its own (`attempt.py`) with results of its own in the one journal: what it
writes is marked with its name. Weights that checkpoints share are loaded once, and only adapters change.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from remote_agent import checkpoints, models
from remote_agent.attempt import Attempt, Ready
from remote_agent.engines.base import Engine
from remote_agent.evaluation import PatientWriter
from remote_agent.journal import Journal, Record
from remote_agent.manifest import EXPORTS, BadCheckpoint, in_order
from remote_agent.models import ModelUnavailable
from remote_agent.outcome import Hopeless
from remote_agent.plan import Pair
from remote_agent.protocol import (
    Begin,
    Check,
    Failed,
    Order,
    PassedOver,
    Phase,
    Planned,
    Result,
    SweepArm,
    Swept,
)
from remote_agent.tasks.base import LoadedTask

log = logging.getLogger("sweep")

BASE = "base"
"""The name of the base model among the checkpoints."""
MARK = "/"
"""Between a checkpoint's name, which never holds it, and a sample's."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder of checkpoints holds: those that are whole, and why the others are not taken."""

    arms: list[SweepArm]
    refused: list[PassedOver]


def look(folder: Path) -> Found:
    """Verify each checkpoint in a folder. Raises Hopeless where there is no such folder."""
    if not folder.is_dir():
        raise Hopeless(f"{folder} is no folder on the instance: there are no checkpoints to evaluate.")
    whole, refused = [], []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."):
        if place.name in EXPORTS:
            continue  # the same weights as the last checkpoint's
        try:
            made = checkpoints.verify(place, to_resume=False)
            if made.name != place.name:
                raise BadCheckpoint(f"the manifest is that of {made.name!r}")
            whole.append(made)
        except BadCheckpoint as exc:
            refused.append(PassedOver(name=place.name, reason=str(exc)))
    arms = [SweepArm(name=made.name, step=made.step, model=made.identity) for made in in_order(whole)]
    return Found([arm for arm in arms if arm.name != BASE], refused)


class Sweep:
    """One attempt. `past`: the journal's records before it, and the crash that it began with."""

    def __init__(
        self, run: Path, order: Order, journal: Journal, writer: PatientWriter, past: list[Record]
    ) -> None:
        assert order.sweep is not None
        self._run = run
        self._order = order
        self._sweep = order.sweep
        self._journal = journal
        self._writer = writer
        self._past = past
        self._said: set[tuple[str, str, str]] = set()

    def work(self) -> None:
        """From the preflight to the last result. Raises Hopeless, or whatever should end this process."""
        settled = {(sample, candidate) for _, sample, candidate in self._journal.keys}
        first = Attempt(self._run, self._order, self._writer, self._past, settled)
        loaded = first.check_machine_and_data()
        arms = self._arms(first, loaded)
        ready = [(arm, *self._prepared(arm, loaded)) for arm in arms]
        before: Engine | None = None
        try:
            for number, (arm, attempt, prepared) in enumerate(ready, 1):
                log.info("%s: %d of %d", arm.name, number, len(ready))
                before = attempt.compute(prepared, before)
        finally:
            for _, _, prepared in ready:
                prepared.engine.close()

    # --- which ones ---

    def _arms(self, attempt: Attempt, loaded: LoadedTask) -> list[SweepArm]:
        """What is evaluated: as it was planned, less what is no longer there."""
        found = look(Path(self._sweep.folder))
        swept = next((r for r in self._past if r["kind"] == "swept"), None)
        if swept is not None:
            planned = [SweepArm.model_validate(arm) for arm in swept["arms"]]
            return list(self._still_there(planned, found, loaded))
        if not found.arms:
            why = "; ".join(f"{p.name}: {p.reason}" for p in found.refused) or "it is empty"
            raise Hopeless(f"{self._sweep.folder} holds no checkpoint that is whole: {why}.")
        base = [SweepArm(name=BASE, step=0, model=self._order.model_id)] if self._sweep.base else []
        arms = base + found.arms
        size, candidates = len(loaded.samples), self._order.generate.candidates
        swept_now = Swept(
            arms=arms, task=attempt.task.name, samples=size, candidates=candidates,
            total=len(arms) * size * candidates,
        )  # fmt: skip
        for refused in found.refused:
            log.warning("%s is passed over: %s", refused.name, refused.reason)
        self._writer.write(swept_now, *found.refused)
        return arms

    def _still_there(
        self, planned: Sequence[SweepArm], found: Found, loaded: LoadedTask
    ) -> Iterator[SweepArm]:
        """The planned ones that can be gone on with, or are done. What has changed since is another plan."""
        there = {arm.name: arm for arm in found.arms}
        why = {refused.name: refused.reason for refused in found.refused}
        gone = {r["name"] for r in self._past if r["kind"] == "passed_over"}
        each = len(loaded.samples) * self._order.generate.candidates
        for arm in planned:
            left = each - len(_settled(self._journal, arm.name))
            if arm.name == BASE or there.get(arm.name) == arm:
                yield arm
            elif arm.name in there:
                raise Hopeless(
                    f"The checkpoint {arm.name} is {there[arm.name].model}, and was {arm.model} when this "
                    "sweep began. Put it back, or start a new sweep."
                )
            elif left and arm.name not in gone:
                reason = why.get(arm.name, "it is no longer there")
                log.warning("%s is passed over: %s", arm.name, reason)
                self._writer.write(PassedOver(name=arm.name, reason=reason, left=left))

    # --- one of them ---

    @cached_property
    def _base(self) -> str:
        """The base model's folder, which all adapters go onto."""
        try:
            return str(models.resolve(self._order.model, self._order.revision))
        except ModelUnavailable:
            return self._order.model  # whoever loads it says what is wrong

    def _prepared(self, arm: SweepArm, loaded: LoadedTask) -> tuple[Attempt, Ready]:
        order = self._order
        if arm.name != BASE:
            place = Path(self._sweep.folder) / arm.name
            changes = {"model": str(place), "model_id": arm.model, "revision": None, "base": self._base}
            order = order.model_copy(update=changes)
        writer = ArmWriter(self._journal, arm, self._said)
        past = list(past_of(self._past, arm.name))
        attempt = Attempt(self._run, order, writer, past, _settled(self._journal, arm.name))
        return attempt, attempt.prepare(loaded)


def _settled(journal: Journal, arm: str) -> set[Pair]:
    """The keys of one arm's results, without its name."""
    start = f"{arm}{MARK}"
    return {
        (sample.removeprefix(start), candidate)
        for _, sample, candidate in journal.keys
        if sample.startswith(start)
    }


def past_of(records: Sequence[Record], arm: str) -> Iterator[Record]:
    """What a journal says of one arm, as if it had been evaluated alone: keys without its name."""
    start = f"{arm}{MARK}"
    for record in records:
        kind = record["kind"]
        if kind in ("begin", "crash"):
            keys = [(s.removeprefix(start), c) for s, c in record["keys"] if s.startswith(start)]
            yield {**record, "keys": keys}
        elif kind in ("result", "failed"):
            if record["sample"].startswith(start):
                yield {**record, "sample": record["sample"].removeprefix(start)}
        elif kind != "planned" or record["arm"] == arm:
            yield record


class ArmWriter(PatientWriter):
    """Marks what one arm writes with its name. said: checks that an arm before has recorded, which are not
    repeated."""

    def __init__(self, journal: Journal, arm: SweepArm, said: set[tuple[str, str, str]]) -> None:
        super().__init__(journal)
        self._arm = arm
        self._said = said

    def write(self, *records: BaseModel) -> None:
        marked = [self._marked(record) for record in records if not self._repeats(record)]
        if marked:
            super().write(*marked)

    def _repeats(self, record: BaseModel) -> bool:
        if not isinstance(record, Check):
            return False
        finding = (record.name, record.status, record.message)
        known = finding in self._said
        self._said.add(finding)
        return known

    def _marked(self, record: BaseModel) -> BaseModel:
        name, changes = f"{self._arm.name}{MARK}", dict[str, Any]()
        if isinstance(record, Result | Failed):
            changes = {"sample": name + record.sample}
        elif isinstance(record, Begin):
            changes = {"keys": [(name + sample, candidate) for sample, candidate in record.keys]}
        elif isinstance(record, Planned):
            changes = {"arm": self._arm.name, "step": self._arm.step}
        elif isinstance(record, Phase):
            changes = {"detail": f"{self._arm.name}: {record.detail}"}
        elif isinstance(record, Check) and record.status != "ok":
            changes = {"message": f"{self._arm.name}: {record.message}"}
        return record.model_copy(update=changes)
