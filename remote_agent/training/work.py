"""One attempt at a training up to its first step: checks, the plan, the weights.

The worker around it is `remote_agent.worker`'s, the steps are `steps.py`'s, and both write into one journal.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from remote_agent import checkpoint_contract, history, models, preflight
from remote_agent.checkpoint_contract import Contract
from remote_agent.engines.base import EngineError
from remote_agent.engines.transformers import TransformersEngine
from remote_agent.evaluation import PatientWriter
from remote_agent.findings import Findings
from remote_agent.journal import Record
from remote_agent.models import ModelUnavailable
from remote_agent.outcome import Hopeless
from remote_agent.protocol import Order
from remote_agent.registry import TASKS, load
from remote_agent.tasks.base import DataError, LoadedTask, Task
from remote_agent.train_protocol import TrainPlanned, TrainSpec
from remote_agent.training import preflight as rows_preflight
from remote_agent.training.course import course_of
from remote_agent.training.evaluating import Evaluator
from remote_agent.training.lint import lint
from remote_agent.training.masking import Masked
from remote_agent.training.material import Material
from remote_agent.training.mirrors import MirroringWriter, mirrors
from remote_agent.training.rewards import RewardError
from remote_agent.training.rows import Rows, read_rows
from remote_agent.training.steps import Steps

log = logging.getLogger("training")

T = TypeVar("T")


class Training:
    """One attempt. `past`: the journal's records before it."""

    def __init__(self, run: Path, order: Order, writer: PatientWriter, past: list[Record]) -> None:
        assert order.train is not None
        self._run = run
        self._order = order
        self._train: TrainSpec = order.train
        self._writer = writer
        self._findings = Findings(writer)
        self._past = past
        self._task: Task = load(TASKS[order.task.name])()
        self._engine = TransformersEngine(order)

    def work(self) -> None:
        """From the preflight to the last step. Raises Hopeless, Halted, or what should end this process."""
        if not self._train.mirrors:
            self._work()
            return
        settings = self._train.model_dump(mode="json", exclude_defaults=True)
        targets = mirrors(list(self._train.mirrors), self._run, self._order.run, settings)
        self._writer = mirroring = MirroringWriter(self._writer, targets)
        try:
            self._work()
        finally:
            mirroring.close()

    def _work(self) -> None:
        self._findings.phase("preflight", "machine and data")
        tried = history.has_passed(self._past, "packages")
        machine = preflight.machine(self._order, self._run, tried=tried)
        needs = rows_preflight.hardware(self._train)
        self._findings.check([*machine, preflight.packages("training"), *needs])
        loaded = self._or_refused("data", lambda: self._task.load(self._order.task))
        rows = self._or_refused("rows", lambda: read_rows(self._train.data, self._task, self._order.task))
        self._findings.phase("model", f"looking for {self._order.model}")
        self._or_refused("model", self._engine.prepare)
        if self._engine.adapter is not None:
            message = f"{self._engine.folder} is an adapter; a training begins with whole weights."
            self._findings.fail("model", f"{message} Next: take the export `merged`, or its base model.")
        self._findings.phase("preflight", "rows")
        masked = self._check_rows(rows, loaded)
        contract = self._contract(rows)
        plan_sha = self._plan_sha(rows, loaded)
        self._refuse_another_plan(plan_sha)
        self._findings.phase("model", "loading the weights")
        material = Material(self._run, self._order, self._train, self._task, self._engine, rows, masked)
        build = self._or_refused("rewards", material.build)
        self._plan_once(plan_sha, rows, masked, build.model)
        evaluator = Evaluator(self._order, self._task, loaded, self._engine)
        Steps(material, contract, self._writer, self._findings, course_of(self._past)).run(build, evaluator)

    # --- before the first step ---

    def _or_refused(self, name: str, step: Callable[[], T]) -> T:
        """What `step` returns; its error, where it is one of the user's to mend, is a failed check."""
        try:
            return step()
        except (DataError, EngineError, ModelUnavailable, RewardError) as exc:
            self._findings.fail(name, str(exc))
            raise

    def _check_rows(self, rows: Rows, loaded: LoadedTask) -> list[Masked]:
        tokenizer, train, order = self._engine.tokenizer, self._train, self._order
        checks = lint(train, len(rows.rows))
        masked: list[Masked] = []
        if train.method == "sft":
            masked, found = rows_preflight.supervised(tokenizer, rows, train, self._end_ids())
            checks += found
            checks += rows_preflight.lengths(
                masked, rows, self._engine.context_window, order.generate.max_tokens
            )
        checks.append(rows_preflight.same_prompt(self._task, order.task, rows, order.force))
        checks.append(rows_preflight.markers(tokenizer, rows))
        checks += rows_preflight.format_contract(
            self._task, order.task, loaded.samples, rows.answers, order.force
        )
        if masked and not any(r["kind"] == "seen" for r in self._past):
            self._writer.write(*rows_preflight.shown(tokenizer, rows, masked))
        self._findings.check(checks)
        return masked

    def _contract(self, rows: Rows) -> Contract:
        """What each checkpoint says of itself."""
        found = rows_preflight.contract_of(self._engine.tokenizer, rows, self._task, self._order.task)
        base = {
            "base": self._order.model,
            "base_revision": self._order.revision,
            "base_sha": models.fingerprint(self._engine.weights),
        }
        return found.model_copy(update=base)

    def _end_ids(self) -> list[int]:
        """Tokens at which the model stops, by its generation settings."""
        path = self._engine.folder / "generation_config.json"
        if not path.is_file():
            return []
        ends = json.loads(path.read_text()).get("eos_token_id") or []
        return ends if isinstance(ends, list) else [ends]

    def _plan_sha(self, rows: Rows, loaded: LoadedTask) -> str:
        """A hash of all that decides the training's course; where files lie does not."""
        train = self._train.model_dump(mode="json", exclude={"mirrors", "keep", "save_every", "guard"})
        train["data"].pop("path")
        meaning = {
            "train": train,
            "rows": rows.sha256,
            "task": self._order.task.model_dump(mode="json", exclude={"path", "examples"}),
            "samples": loaded.sha256,
            "model": [self._order.model_id, self._order.revision, self._order.engine.dtype],
            "template": checkpoint_contract.text_sha(self._template()),
        }
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()

    def _template(self) -> str:
        return str(getattr(self._engine.tokenizer, "chat_template", ""))

    def _refuse_another_plan(self, sha: str) -> None:
        before = next((r["plan_sha"] for r in self._past if r["kind"] == "train_planned"), sha)
        if before != sha:
            raise Hopeless(
                "The rows, the task, the model or the settings are not those that this training began with "
                f"(plan {sha[:12]}, before {before[:12]}). Restore them, or start a new run."
            )

    def _plan_once(self, sha: str, rows: Rows, masked: list[Masked], model: Any) -> None:
        if any(r["kind"] == "train_planned" for r in self._past):
            return
        parameters = [(p.numel(), p.requires_grad) for p in model.parameters()]
        self._writer.write(
            TrainPlanned(
                method=self._train.method,
                steps=self._train.steps,
                rows=len(rows.rows),
                tokens=sum(len(m.ids) for m in masked),
                counted=sum(sum(m.counts) for m in masked),
                trainable=sum(n for n, trained in parameters if trained),
                parameters=sum(n for n, _ in parameters),
                plan_sha=sha,
                data=f"{rows.source} (sha256 {rows.sha256})",
                model=self._order.model_id,
                dtype=self._engine.describe().dtype,
                settings=self._train.model_dump(mode="json", exclude_defaults=True),
            )
        )
