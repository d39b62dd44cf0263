"""One attempt at an evaluation: from the preflight to the last result, for one model.

The worker's process around it is `worker.py`'s; a sweep makes one of these for each checkpoint (`sweep.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from remote_agent import history, preflight, protocol
from remote_agent.answering import Method, contexts_of, method_for, prompts_of
from remote_agent.engines.base import Engine, EngineError, Prompt
from remote_agent.evaluation import Evaluation, NothingWorks, PatientWriter, failed
from remote_agent.expectation import Monitor
from remote_agent.findings import Findings
from remote_agent.journal import Record
from remote_agent.models import ModelUnavailable
from remote_agent.outcome import Hopeless
from remote_agent.plan import Pair, Plan, batches, make_plan
from remote_agent.protocol import Order
from remote_agent.registry import ENGINES, TASKS, load
from remote_agent.reranking.base import RerankError
from remote_agent.reranking.work import Scoring, prepared
from remote_agent.settings import missing_template, recorded_order, settings
from remote_agent.tasks.base import DataError, LoadedTask, Task, method_of
from remote_agent.watching import WatchfulWriter

log = logging.getLogger("worker")

CRASHES_ALONE = 3
"""Deaths with a sample alone in flight after which it is settled as failed."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What is there once all has been checked that can be checked without the weights."""

    loaded: LoadedTask
    plan: Plan
    engine: Engine
    prompts: dict[Pair, Prompt]
    lengths: list[int]
    """Tokens of each item's prompt, in the plan's order."""


class Attempt:
    """One attempt. `past`: the journal's records before it, and the crash that it began with.

    settled: the keys that have a result. In a sweep, `past` and `settled` are of one checkpoint alone.
    """

    def __init__(
        self, run: Path, order: Order, writer: PatientWriter, past: list[Record], settled: Collection[Pair]
    ) -> None:
        self._run = run
        self._order = order
        self._writer = writer
        self._past = past
        self._settled = set(settled)
        self._findings = Findings(writer)
        self.task: Task = load(TASKS[order.task.name])()

    def check_machine_and_data(self) -> LoadedTask:
        """What the run needs whatever the model is. Raises Hopeless."""
        self._findings.phase("preflight", "machine and data")
        tried = history.has_passed(self._past, "packages")
        self._findings.check(preflight.machine(self._order, self._run, tried=tried))
        try:
            loaded = self.task.load(self._order.task)
        except DataError as exc:
            self._findings.fail("data", str(exc))
            raise
        found = preflight.data(self.task, self._order.task, loaded, force=self._order.force)
        self._findings.check(found)
        if self._order.rerank:
            self._findings.check(prepared(self._order))
        return loaded

    def prepare(self, loaded: LoadedTask) -> Ready:
        """All up to the weights: the plan, the engine, the prompts and their checks. Raises Hopeless."""
        plan = make_plan(self._order, self.task, loaded)
        self._refuse_another_plan(plan)
        engine = self._prepared_engine()
        self._findings.phase("preflight", "prompts")
        self._findings.check(preflight.template(engine, self.task, self._order.task))
        prompts, lengths = self._render(engine, plan)
        self._check_prompts(engine, loaded, prompts, lengths)
        return Ready(loaded, plan, engine, prompts, lengths)

    def compute(self, ready: Ready, before: Engine | None = None) -> Engine | None:
        """From the weights to the last result. Raises Hopeless, or whatever should end this process.

        before: an engine whose weights may be gone on with; else it is closed. Returns the engine that holds
        weights now: with all results there none is loaded.
        """
        loaded, plan, engine = ready.loaded, ready.plan, ready.engine
        self._settle_killers(plan)
        suspects = history.suspects(self._past)
        method = self._method(engine, plan, ready.prompts, ready.lengths)
        size = self._batch_size(engine, method)
        rest = batches(plan, ready.lengths, size, self._settled, suspects)
        if rest:
            self._get_weights(engine, before)
            engine.expect([prompt.text for prompt in ready.prompts.values()])
            rendered = _rendered(loaded, ready.prompts, ready.lengths)
            self._findings.check(preflight.dry_batch(engine, rendered))
        self._plan_once(plan, loaded, engine)
        if self._order.expect:
            facts = missing_template(self.task, self._order, engine)
            self._writer = WatchfulWriter(self._writer, Monitor(self._order.expect, self._past, facts))
            self._findings.writer = self._writer
        left = f"{sum(map(len, rest))} of {len(plan.items)} to do in {len(rest)} batches"
        self._findings.phase("evaluate", left)
        try:
            Evaluation(self.task.name, method, engine, self._writer).run(rest, suspects)
        except NothingWorks as exc:
            raise Hopeless(str(exc)) from exc
        return engine if rest else before

    def _get_weights(self, engine: Engine, before: Engine | None) -> None:
        self._findings.phase("model", "loading the weights")
        try:
            if before is not None:
                if engine.take_over(before):
                    return
                before.close()
            engine.load()
        except EngineError as exc:
            self._findings.fail("model", str(exc))
            raise

    def rerank(self, loaded: LoadedTask, journal: Path) -> None:
        """Score the answers, where the order asks for that. Raises Hopeless."""
        samples = {sample.id: sample for sample in loaded.samples}
        scoring = Scoring(self._order, self.task, samples, journal, self._writer)
        if not scoring.left():
            return
        self._findings.phase("rerank", f"{scoring.left()} scores to compute")
        try:
            scoring.run()
        except RerankError as exc:
            raise Hopeless(f"{exc}. The answers are recorded: resuming goes on with the scores.") from exc

    def _prepared_engine(self) -> Engine:
        self._findings.phase("model", f"looking for {self._order.model}")
        engine: Engine = load(ENGINES[self._order.engine.name])(self._order)
        try:
            engine.prepare()
        except (EngineError, ModelUnavailable) as exc:
            self._findings.fail("model", str(exc))
        return engine

    def _render(self, engine: Engine, plan: Plan) -> tuple[dict[Pair, Prompt], list[int]]:
        """Each item's prompt, and its length in tokens in the plan's order."""
        try:
            contexts = contexts_of(self.task, self._order.task, engine, plan)
        except Exception as exc:
            # Templates are programs of the model's makers: whatever they raise, the run cannot go on.
            log.exception("rendering failed")
            self._findings.fail("chat template", preflight.not_rendered(exc, self._order.task.system))
            raise
        return prompts_of(self.task, self._order, engine, plan, contexts)

    def _batch_size(self, engine: Engine, method: Method) -> int:
        """One where the engine is fed: then all samples come in an order of chance, none with others."""
        if engine.slots and method.streams:
            return 1
        size = self._order.engine.batch_size
        return engine.batch if size == "auto" else size

    def _method(self, engine: Engine, plan: Plan, prompts: dict[Pair, Prompt], lengths: list[int]) -> Method:
        by_key = {item.key: length for item, length in zip(plan.items, lengths, strict=True)}
        try:
            return method_for(self.task, self._order.task, engine, prompts, by_key, self._order.engine)
        except EngineError as exc:
            self._findings.fail("method", str(exc))
            raise

    def _check_prompts(
        self, engine: Engine, loaded: LoadedTask, prompts: dict[Pair, Prompt], lengths: list[int]
    ) -> None:
        spec, force = self._order.task, self._order.force
        limit = self._answer_tokens(engine, loaded)
        rendered = _rendered(loaded, prompts, lengths)
        self._findings.check(preflight.prompts(engine, self.task, spec, rendered, limit, force=force))

    def _answer_tokens(self, engine: Engine, loaded: LoadedTask) -> int:
        """Tokens that may follow a prompt: what is generated, or the longest of the given answers."""
        spec = self._order.task
        if method_of(self.task, spec) == "generate":
            return self._order.generate.max_tokens
        given = {text for s in loaded.samples for text in self.task.continuations(s, spec)}
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
                task=self.task.name,
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
                headline=self.task.answer_format(self._order.task).headline,
                settings=settings(self._order, self.task, loaded, engine),
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
            if len(causes) < CRASHES_ALONE or item.key in self._settled:
                continue
            error = f"ended its worker {len(causes)} times when computed alone; the last cause: {causes[-1]}"
            log.error("%s %s", item.sample.id, error)
            self._writer.write(failed(self.task.name, item, error, crashes=len(causes)))
            self._settled.add(item.key)


def _rendered(loaded: LoadedTask, prompts: dict[Pair, Prompt], lengths: list[int]) -> preflight.Prompts:
    texts = [prompts[sample.id, 0].text for sample in loaded.samples]
    return preflight.Prompts(loaded.samples, texts, lengths[: len(texts)])
