"""From a checkpoint to the last step: passes of the trainer, checkpoints, and what follows a collapse.

What is there is taken up: the newest checkpoint that is whole, and the journal's figures up to it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remote_agent import checkpoint_contract, checkpoints
from remote_agent.checkpoint_contract import Contract
from remote_agent.evaluation import PatientWriter
from remote_agent.findings import Findings
from remote_agent.manifest import EXPORT, BadCheckpoint, Checkpoint
from remote_agent.outcome import Again, Hopeless
from remote_agent.train_protocol import Continued, Exported, Saved
from remote_agent.training.build import Build
from remote_agent.training.course import Course
from remote_agent.training.evaluating import Evaluator
from remote_agent.training.exporting import ExportFailed, export
from remote_agent.training.guard import Finding
from remote_agent.training.material import Material
from remote_agent.training.ranks import others, step_name
from remote_agent.training.rewards import RewardError
from remote_agent.training.watch import Watch, guarded
from remote_agent.watching import Halted

log = logging.getLogger("training")

NEEDED = ("optimizer.pt", "scheduler.pt", "trainer_state.json")
"""What transformers would silently go on without: a checkpoint that lacks one is not resumed from."""


class Steps:
    """The steps of one attempt."""

    def __init__(
        self,
        material: Material,
        contract: Contract,
        writer: PatientWriter,
        findings: Findings,
        course: Course,
    ) -> None:
        self._material = material
        self._contract = contract
        self._run = material.run
        self._train = material.train
        self._writer = writer
        self._findings = findings
        self._course = course

    def run(self, build: Build, evaluator: Evaluator) -> None:
        """Train until the last step is done. Raises Hopeless, Halted, Again."""
        while True:
            start = self._start()
            finding = self._one_pass(build, evaluator, start)
            if finding is None:
                return
            self._after(finding)
            if self._train.processes > 1:
                raise Again("the training goes back to a checkpoint in all of its processes")

    def _one_pass(self, build: Build, evaluator: Evaluator, start: Checkpoint | None) -> Finding | None:
        """Train from `start`; the guard's finding where that ended it."""
        self._findings.phase("train", f"step {start.step if start else 0} of {self._train.steps}")
        watch = Watch(self._train, self._course, self._writer, evaluator.evaluate)
        name = start.name if start else None
        with others(self._run, self._train.processes, name, self._course):
            trainer = build.trainer(watch, self._save)
            place = checkpoints.folder(self._run) / name if name else None
            try:
                trainer.train(resume_from_checkpoint=str(place) if place else None)
            except RewardError as exc:
                raise Hopeless(str(exc)) from exc
        if watch.finding is None:
            self._export(trainer)
        return watch.finding

    # --- checkpoints ---

    def _start(self) -> Checkpoint | None:
        """The newest checkpoint that is whole. Steps beyond it that the journal holds are computed again."""
        refused: list[str] = []
        for made in reversed(checkpoints.whole(self._run)):
            if made.name == EXPORT:
                continue
            trouble = self._trouble(made)
            if trouble is None:
                self._continue(made.step, made.name, refused)
                return made
            refused.append(f"{made.name}: {trouble}")
        if self._course.figures or refused:
            self._continue(0, "", refused)
        return None

    def _trouble(self, made: Checkpoint) -> str | None:
        """Why a checkpoint is not to be resumed from."""
        try:
            checkpoints.verify(checkpoints.folder(self._run) / made.name)
        except BadCheckpoint as exc:
            return str(exc)
        missing = [name for name in NEEDED if name not in {f.path for f in made.files}]
        return f"{', '.join(missing)} missing" if missing else None

    def _continue(self, step: int, name: str, refused: list[str]) -> None:
        if refused:
            log.warning("not resumed from: %s", "; ".join(refused))
        self._course.back_to(step)
        self._writer.write(Continued(step=step, name=name, refused=refused))

    def _save(self, step: int, write: Callable[[Path], None]) -> None:
        """Make a whole checkpoint of a step, with the accuracy that was measured there."""
        started = time.monotonic()
        made = self._publish(step_name(step), step, write, self._course.accuracy.get(step))
        digest = hashlib.sha256("".join(f.sha256 for f in made.files).encode()).hexdigest()
        seconds = round(time.monotonic() - started, 3)
        self._writer.write(Saved(step=step, name=made.name, bytes=made.bytes, sha=digest, seconds=seconds))
        checkpoints.keep(self._run, self._train.keep, best=True)

    def _publish(
        self, name: str, step: int, write: Callable[[Path], None], score: float | None = None
    ) -> Checkpoint:
        folder = checkpoints.begin(self._run, name)
        write(folder)
        checkpoint_contract.write(folder, self._contract)
        if (checkpoints.folder(self._run) / name).exists():
            checkpoints.discard(self._run, name)
        return checkpoints.publish(self._run, name, step, score)

    def _export(self, trainer: Any) -> None:
        if self._train.export == "none":
            return
        self._findings.phase("train", "exporting")
        found: list[float] = []
        model, tokenizer = trainer.accelerator.unwrap_model(trainer.model), self._material.engine.tokenizer
        try:
            made = self._publish(
                EXPORT, self._train.steps, lambda folder: found.append(export(model, tokenizer, folder))
            )
        except ExportFailed as exc:
            raise Hopeless(str(exc)) from exc
        self._writer.write(Exported(name=made.name, step=made.step, bytes=made.bytes, difference=found[0]))

    # --- a collapse ---

    def _after(self, finding: Finding) -> None:
        """Do what the order says about a finding. Raises Halted where that is the end."""
        guard, course = self._train.guard, self._course
        action = guard.action
        if action == "rollback" and course.rollbacks >= guard.rollbacks:
            action = "stop"
        if action != "rollback":
            self._writer.write(guarded(finding, action))
            end = "paused at a checkpoint" if action == "pause" else "stopped"
            said = f"{finding.rule} at step {finding.step}: {finding.message}"
            raise Halted(f"{end} by the collapse guard: {said}")
        # The steps in which it went wrong are not gone back to.
        last = finding.step - guard.patience * self._train.log_every
        for made in checkpoints.whole(self._run):
            if made.step > last:
                checkpoints.discard(self._run, made.name)
        step = max((made.step for made in checkpoints.whole(self._run)), default=0)
        course.rollbacks += 1
        course.lr_factor *= guard.rollback_lr
        course.back_to(step)
        self._writer.write(guarded(finding, "rollback", step, course.lr_factor))
