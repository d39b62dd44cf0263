"""From batches to results: engine, grading, journal. Nothing counts before the journal holds it.

One batch at a time: its `begin` record, its completions, then all its results in one durable write. A full
disk makes the run wait, with the batch held; a sample that raises does not end the run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel

from remote_agent import protocol
from remote_agent.engines.base import Completion, Engine, EngineBroken, Prompt
from remote_agent.journal import Journal, NoSpace, Record
from remote_agent.plan import Item, Pair
from remote_agent.tasks.base import Task

log = logging.getLogger("evaluation")

POLL_SECONDS = 1.0
TRIES_ALONE = 2


class NothingWorks(Exception):
    """Each sample of a batch fails also alone: the cause is not a sample. The message is the last error."""


class PatientWriter:
    """Appends to the journal. When the disk is full it says so, waits until there is room, and goes on."""

    def __init__(self, journal: Journal, sleep: Callable[[float], None] = time.sleep) -> None:
        self._journal = journal
        self._sleep = sleep

    def write(self, *records: BaseModel) -> None:
        """Durable when it returns. Raises JournalError for anything but a lack of space."""
        held = [protocol.payload(record) for record in records]
        try:
            self._journal.append(held)
        except NoSpace:
            self._write_when_there_is_room(held)

    def _write_when_there_is_room(self, held: list[Record]) -> None:
        """Say that the run waits, and try until the held records fit beside a whole ballast."""
        started = time.monotonic()
        reason = f"the disk is full: free some space on the instance; {len(held)} records are held in memory"
        log.warning("waiting: %s", reason)
        self._journal.release_ballast()
        self._try(protocol.Paused(reason=reason))
        while True:
            self._sleep(POLL_SECONDS)
            if not self._journal.restore_ballast():
                continue
            waited = round(time.monotonic() - started, 1)
            try:
                self._journal.append([protocol.payload(protocol.Unpaused(waited=waited)), *held])
            except NoSpace:
                # The ballast has only taken back its own room.
                self._journal.release_ballast()
                continue
            log.info("there is room again after %.1f s", waited)
            return

    def _try(self, record: BaseModel) -> None:
        """Write a record that may be left out: others may have taken the space that was made for it."""
        try:
            self._journal.append([protocol.payload(record)])
        except NoSpace:
            log.warning("no room to record `%s`", protocol.payload(record)["kind"])


class Evaluation:
    """Computes, grades and records batches of a plan."""

    def __init__(
        self, task: Task, engine: Engine, writer: PatientWriter, prompts: Mapping[Pair, Prompt]
    ) -> None:
        self._task = task
        self._engine = engine
        self._writer = writer
        self._prompts = prompts

    def run(self, batches: Sequence[Sequence[Item]]) -> None:
        """Settle every item. Raises EngineBroken, NothingWorks or JournalError; what is recorded stays."""
        for number, batch in enumerate(batches, 1):
            started = time.monotonic()
            tokens = self._settle(batch)
            seconds = time.monotonic() - started
            log.info(
                "batch %d of %d: %d results, %d tokens in %.1f s",
                number, len(batches), len(batch), tokens, seconds,
            )  # fmt: skip

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
        for item in batch:
            done = self._compute_alone(item)
            if isinstance(done, str):
                failures.append(failed(self._task.name, item, done, crashes=0))
            else:
                tokens += self._record(done)
        if len(failures) == len(batch) > 1:
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
        prompts = [self._prompts[item.key] for item in batch]
        started = time.monotonic()
        try:
            answers = self._engine.generate(prompts)
        except EngineBroken:
            raise
        except Exception as exc:
            log.exception("computing %s failed", ", ".join(item.sample.id for item in batch))
            return f"{type(exc).__name__}: {exc}"
        seconds = round(time.monotonic() - started, 3)
        rows = zip(batch, prompts, answers, strict=True)
        return [self._result(*row, seconds) for row in rows]

    def _record(self, results: Sequence[protocol.Result]) -> int:
        self._writer.write(*results)
        return sum(result.tokens_out for result in results)

    def _result(self, item: Item, prompt: Prompt, answer: Completion, seconds: float) -> protocol.Result:
        grade = self._task.grade(item.sample, answer.text, answer.finish)
        return protocol.Result(
            task=self._task.name,
            sample=item.sample.id,
            candidate=item.candidate,
            category=item.sample.category,
            verdict=grade.verdict,
            reason=grade.reason,
            extracted=grade.extracted,
            rule=grade.rule,
            span=grade.span,
            disagree=grade.disagree,
            gold=item.sample.gold,
            completion=answer.text,
            prompt_sha=prompt.sha,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            finish=answer.finish,
            seconds=seconds,
        )


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
