"""The worker: one attempt at a run, from its order to its last result, in a process that may die any time.

It takes up what the journal holds, records what its predecessor died of, keeps the samples under suspicion
apart, and is the journal's only writer. Restarting it is the supervisor's work.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from remote_agent import history, preflight, protocol
from remote_agent.engines.base import Engine, EngineError, Prompt
from remote_agent.evaluation import Evaluation, NothingWorks, PatientWriter, failed
from remote_agent.identity import agent_id
from remote_agent.journal import Busy, Corrupt, Journal, Record
from remote_agent.logs import setup_logging
from remote_agent.models import ModelUnavailable
from remote_agent.plan import Item, Pair, Plan, answer_seed, batches, make_plan
from remote_agent.protocol import Check, Order
from remote_agent.registry import ENGINES, TASKS, load
from remote_agent.tasks.base import DataError, LoadedTask, Task

log = logging.getLogger("worker")

DONE, AGAIN, FINAL = 0, 1, 3
"""Exit statuses: complete; start me again; a restart does not cure it."""
CRASHES_ALONE = 3
"""Deaths with a sample alone in flight after which it is settled as failed."""
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


class Hopeless(Exception):
    """The run cannot complete, and a restart does not change that; the message is for its user."""


def main(run: Path, after: str | None = None, blamed: bool = False) -> int:
    """Work on the run in the folder `run` until its plan is settled. Returns an exit status (see above).

    after: what the worker before this one died of; blamed: what it had in flight may have caused that.
    """
    setup_logging()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
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
        Worker(run, read_order(run), journal, writer, past).work()
    except Hopeless as exc:
        log.error("%s", exc)
        writer.write(protocol.Finished(outcome="failed", message=str(exc)))
        return FINAL
    writer.write(protocol.Finished(outcome="complete"))
    return DONE


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
        self._task: Task = load(TASKS[order.task.name])()

    def work(self) -> None:
        """From the preflight to the last result. Raises Hopeless, or whatever should end this process."""
        self._phase("preflight", "machine and data")
        loaded = self._check_machine_and_data()
        plan = make_plan(self._order, self._task, loaded)
        self._refuse_another_plan(plan)
        engine = self._prepared_engine()
        self._phase("preflight", "prompts")
        prompts, lengths = self._render(engine, plan)
        self._check_prompts(engine, loaded, prompts, lengths)
        self._settle_killers(plan)
        settled = {(sample, candidate) for _, sample, candidate in self._journal.keys}
        rest = batches(plan, lengths, self._order.engine.batch_size, settled, history.suspects(self._past))
        if rest:
            self._phase("model", "loading the weights")
            self._or_hopeless(engine.load)
            engine.expect([prompt.text for prompt in prompts.values()])
        self._plan_once(plan, loaded, engine)
        self._phase("evaluate", f"{sum(map(len, rest))} of {len(plan.items)} to do in {len(rest)} batches")
        try:
            Evaluation(self._task, engine, self._writer, prompts).run(rest)
        except NothingWorks as exc:
            raise Hopeless(str(exc)) from exc

    def _phase(self, name: str, detail: str) -> None:
        log.info("%s: %s", name, detail)
        self._writer.write(protocol.Phase.model_validate({"name": name, "detail": detail}))

    def _record_checks(self, checks: Iterable[Check]) -> None:
        """Record all checks, then end the run if one failed: a user wants to see the others as well."""
        done = list(checks)
        self._writer.write(*done)
        failures = [check.message for check in done if check.status == "fail"]
        if failures:
            raise Hopeless(" ".join(failures))

    def _check_machine_and_data(self) -> LoadedTask:
        self._record_checks(preflight.machine(self._order, self._run))
        try:
            loaded = self._task.load(self._order.task)
        except DataError as exc:
            self._record_checks([Check(name="data", status="fail", message=str(exc))])
            raise
        self._record_checks(preflight.data(self._task, loaded))
        return loaded

    def _prepared_engine(self) -> Engine:
        self._phase("model", f"looking for {self._order.model}")
        engine: Engine = load(ENGINES[self._order.engine.name])(self._order)
        self._or_hopeless(engine.prepare)
        return engine

    def _or_hopeless(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (EngineError, ModelUnavailable) as exc:
            self._record_checks([Check(name="model", status="fail", message=str(exc))])

    def _render(self, engine: Engine, plan: Plan) -> tuple[dict[Pair, Prompt], list[int]]:
        """Each item's prompt, and its length in tokens in the plan's order."""
        texts: dict[str, str] = {}
        try:
            for item in plan.items:
                if item.sample.id not in texts:
                    messages = self._task.messages(item.sample, self._order.task)
                    texts[item.sample.id] = engine.render(messages)
        except Exception as exc:
            # Templates are programs of the model's makers: whatever they raise, the run cannot go on.
            log.exception("rendering failed")
            message = f"The chat template does not render: {exc}. Next: does this model have one?"
            self._record_checks([Check(name="chat template", status="fail", message=message)])
            raise
        counts = dict(zip(texts, engine.count_tokens(list(texts.values())), strict=True))
        prompts = {item.key: self._prompt(item, texts[item.sample.id]) for item in plan.items}
        return prompts, [counts[item.sample.id] for item in plan.items]

    def _prompt(self, item: Item, text: str) -> Prompt:
        seed = answer_seed(self._order.generate.seed, item)
        return Prompt(text, seed, item.sample.id, item.candidate)

    def _check_prompts(
        self, engine: Engine, loaded: LoadedTask, prompts: dict[Pair, Prompt], lengths: list[int]
    ) -> None:
        texts = [prompts[sample.id, 0].text for sample in loaded.samples]
        rendered = preflight.Prompts(loaded.samples, texts, lengths[: len(texts)])
        limit = self._order.generate.max_tokens
        self._record_checks(preflight.prompts(engine, self._task, rendered, limit))

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
                headline=self._task.format.headline,
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
    for name in ("torch", "transformers"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
