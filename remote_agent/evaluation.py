"""From a plan to recorded results: the engine's turns and the journal's. Nothing counts before the journal
holds it.

Batch by batch: a `begin` record, the computing, then all results of the batch in one durable write. Or
request by request, where the engine can be fed: each result is written as it is ready, together with the
`begin` of what takes its place. A full disk makes the run wait, with the results held; a sample that raises
does not end the run.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from pydantic import BaseModel

from remote_agent import protocol
from remote_agent.answering import Method
from remote_agent.engines.base import Answer, Engine, EngineBroken, EngineError, Failure
from remote_agent.journal import Journal, NoSpace, Record
from remote_agent.plan import Item, Pair

log = logging.getLogger("evaluation")

POLL_SECONDS = 1.0
TRIES_ALONE = 2
HOPELESS_STREAK = 20
"""Failed requests in a row after which the cause cannot be a sample."""


class NothingWorks(Exception):
    """Each sample of a batch fails also alone: the cause is not a sample. The message is the last error."""


class PatientWriter:
    """Appends to the journal. When the disk is full it says so, waits until there is room, and goes on."""

    def __init__(self, journal: Journal, sleep: Callable[[float], None] = time.sleep) -> None:
        self.journal = journal
        self._sleep = sleep

    def write(self, *records: BaseModel) -> None:
        """Durable when it returns. Raises JournalError for anything but a lack of space."""
        held = [protocol.payload(record) for record in records]
        try:
            self.journal.append(held)
        except NoSpace:
            self._write_when_there_is_room(held)

    def _write_when_there_is_room(self, held: list[Record]) -> None:
        """Say that the run waits, and try until the held records fit beside a whole ballast."""
        started = time.monotonic()
        reason = f"the disk is full: free some space on the instance; {len(held)} records are held in memory"
        log.warning("waiting: %s", reason)
        self.journal.release_ballast()
        self._try(protocol.Paused(reason=reason))
        while True:
            self._sleep(POLL_SECONDS)
            if not self.journal.restore_ballast():
                continue
            waited = round(time.monotonic() - started, 1)
            try:
                self.journal.append([protocol.payload(protocol.Unpaused(waited=waited)), *held])
            except NoSpace:
                # The ballast has only taken back its own room.
                self.journal.release_ballast()
                continue
            log.info("there is room again after %.1f s", waited)
            return

    def _try(self, record: BaseModel) -> None:
        """Write a record that may be left out: others may have taken the space that was made for it."""
        try:
            self.journal.append([protocol.payload(record)])
        except NoSpace:
            log.warning("no room to record `%s`", protocol.payload(record)["kind"])


class Evaluation:
    """Computes, grades and records what remains of a plan."""

    def __init__(self, task: str, method: Method, engine: Engine, writer: PatientWriter) -> None:
        self._task = task
        self._method = method
        self._engine = engine
        self._writer = writer
        self._results = 0

    def run(self, batches: Sequence[Sequence[Item]], suspects: Collection[Pair] = ()) -> None:
        """Settle every item. Raises EngineBroken, NothingWorks or JournalError; what is recorded stays.

        Suspects are computed in the batches that they come in; all others are fed to an engine that can be
        fed.
        """
        if self._engine.slots and self._method.streams:
            apart = [batch for batch in batches if any(item.key in suspects for item in batch)]
            self._stream([item for batch in batches if batch not in apart for item in batch])
            batches = apart
        for number, batch in enumerate(batches, 1):
            started = time.monotonic()
            tokens = self._settle(batch)
            seconds = time.monotonic() - started
            log.info(
                "batch %d of %d: %d results, %d tokens in %.1f s",
                number, len(batches), len(batch), tokens, seconds,
            )  # fmt: skip

    # --- batch by batch ---

    def _settle(self, batch: Sequence[Item]) -> int:
        """Record a batch whole; where it raises, sample by sample. Returns the tokens generated."""
        if len(batch) > 1:
            done = self._compute(batch)
            if not isinstance(done, str):
                return self._record(done)
            log.warning("a batch of %d failed; its samples are tried one by one", len(batch))
        return self._settle_each(batch)

    def _settle_each(self, batch: Sequence[Item]) -> int:
        tokens, failures = 0, []
        before = self._results
        for item in batch:
            done = self._compute_alone(item)
            if isinstance(done, str):
                failures.append(failed(self._task, item, done, crashes=0))
            else:
                tokens += self._record(done)
        if len(failures) == len(batch) > 1 and not before:
            raise NothingWorks(
                f"Each of {len(batch)} samples of a batch failed; the last: {failures[-1].error}"
            )
        if failures:
            self._writer.write(*failures)
        return tokens

    def _compute_alone(self, item: Item) -> list[protocol.Result] | str:
        done: list[protocol.Result] | str = ""
        for _ in range(TRIES_ALONE):
            done = self._compute([item])
            if not isinstance(done, str):
                break
        return done

    def _compute(self, batch: Sequence[Item]) -> list[protocol.Result] | str:
        """The results of a batch, not yet recorded, or the error that it fails with. Raises EngineBroken."""
        self._writer.write(protocol.Begin(keys=[item.key for item in batch]))
        try:
            return self._method.compute(batch)
        except EngineBroken:
            raise
        except Exception as exc:
            log.exception("computing %s failed", ", ".join(item.sample.id for item in batch))
            return f"{type(exc).__name__}: {exc}"

    def _record(self, results: Sequence[protocol.Result]) -> int:
        self._writer.write(*results)
        self._results += len(results)
        return sum(result.tokens_out for result in results)

    # --- request by request ---

    def _stream(self, items: Sequence[Item]) -> None:
        """Keep the engine fed; each result is durable as soon as it is there, before its slot is filled
        again.

        What is fed is announced first, as in a batch. A sample that fails is tried again alone at the end.
        """
        waiting = deque(enumerate(items))
        flying: dict[int, tuple[Item, float]] = {}
        failures: list[tuple[Item, str]] = []
        started, streak = time.monotonic(), 0
        self._feed(waiting, flying, [])
        while flying:
            done: list[protocol.Result] = []
            for ticket, answer in self._finished():
                item, begun = flying.pop(ticket)
                result = self._graded(item, answer, time.monotonic() - begun)
                if isinstance(result, str):
                    failures.append((item, result))
                    streak += 1
                else:
                    done.append(result)
                    streak = 0
            if streak >= HOPELESS_STREAK:
                raise NothingWorks(f"{streak} samples in a row failed; the last: {failures[-1][1]}")
            self._feed(waiting, flying, done)
        seconds = time.monotonic() - started
        log.info(
            "%d results in %.1f s, %d samples failed", len(items) - len(failures), seconds, len(failures)
        )
        if failures:
            self._settle_each([item for item, _ in failures])

    def _feed(
        self,
        waiting: deque[tuple[int, Item]],
        flying: dict[int, tuple[Item, float]],
        done: Sequence[protocol.Result],
    ) -> None:
        """Record what is done and announce what comes next, in one durable write; then fill the free
        slots."""
        count = min(len(waiting), self._engine.slots - len(flying))
        fresh = [waiting.popleft() for _ in range(count)]
        begin = [protocol.Begin(keys=[item.key for _, item in fresh], more=bool(flying))] if fresh else []
        if done or begin:
            self._writer.write(*done, *begin)
        self._results += len(done)
        for ticket, item in fresh:
            flying[ticket] = (item, time.monotonic())
            self._engine.submit(ticket, self._method.request(item))

    def _finished(self) -> list[tuple[int, Answer]]:
        try:
            return self._engine.finished()
        except EngineError as exc:
            raise NothingWorks(str(exc)) from exc

    def _graded(self, item: Item, answer: Answer, seconds: float) -> protocol.Result | str:
        if isinstance(answer, Failure):
            log.warning("computing %s failed: %s", item.sample.id, answer.error)
            return answer.error
        try:
            return self._method.result(item, answer, round(seconds, 3))
        except Exception as exc:
            log.exception("grading %s failed", item.sample.id)
            return f"{type(exc).__name__}: {exc}"


def failed(task: str, item: Item, error: str, crashes: int) -> protocol.Failed:
    """The record that takes the place of a result that cannot be had."""
    return protocol.Failed(
        task=task,
        sample=item.sample.id,
        candidate=item.candidate,
        category=item.sample.category,
        error=error,
        crashes=crashes,
    )
