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
from remote_agent.manifest import EXPORTS, BadCheckpoint, Checkpoint
from remote_agent.outcome import Again, Hopeless
from remote_agent.train_protocol import Ask, Continued, Exported, Saved, Steered
from remote_agent.training.asks import Asks
from remote_agent.training.build import Build
from remote_agent.training.course import Course
from remote_agent.training.evaluating import Evaluator
from remote_agent.training.exporting import ExportFailed, Parts, export
from remote_agent.training.guard import Finding
from remote_agent.training.material import Material
from remote_agent.training.ranks import others, step_name
from remote_agent.training.rewards import RewardError
from remote_agent.training.watch import Watch, guarded
from remote_agent.watching import Halted

log = logging.getLogger("training")

NEEDED = ("optimizer.pt", "scheduler.pt", "trainer_state.json", "rng_state")
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
        checkpoints.tidy(self._run)
        while True:
            start = self._start()
            if start is not None and start.step >= self._train.steps:
                self._only_export(build, start)
                return
            watch = self._one_pass(build, evaluator, start)
            if watch.finding:
                self._after(watch.finding)
            elif watch.ask:
                self._after_ask(watch.ask, watch.asked_at)
            else:
                return
            if self._train.processes > 1:
                raise Again("the training goes back to a checkpoint in all of its processes")

    def _one_pass(self, build: Build, evaluator: Evaluator, start: Checkpoint | None) -> Watch:
        """Train from `start`; what watched over it says whether the guard or the user has ended it."""
        self._findings.phase("train", f"step {start.step if start else 0} of {self._train.steps}")
        asks = Asks(self._run, self._course.answered)
        watch = Watch(self._train, self._course, self._writer, evaluator.evaluate, asks)
        name = start.name if start else None
        with others(self._run, self._train.processes, name, self._course):
            trainer = build.trainer(watch, self._save)
            place = checkpoints.folder(self._run) / name if name else None
            try:
                trainer.train(resume_from_checkpoint=str(place) if place else None)
            except RewardError as exc:
                raise Hopeless(str(exc)) from exc
        if watch.finding is None and watch.ask is None:
            self._export(trainer)
        return watch

    def _only_export(self, build: Build, start: Checkpoint) -> None:
        """All steps are done; a trainer that is told to go on would do one more."""
        if self._train.export == "none":
            return
        watch = Watch(self._train, self._course, self._writer, None, None)
        trainer = build.trainer(watch, self._save)
        trainer._load_from_checkpoint(str(checkpoints.folder(self._run) / start.name))
        self._export(trainer)

    # --- checkpoints ---

    def _start(self) -> Checkpoint | None:
        """The newest checkpoint that is whole. Steps beyond it that the journal holds are computed again."""
        refused: list[str] = []
        for made in reversed(checkpoints.whole(self._run)):
            if made.name in EXPORTS or self._is_between_passes(made.step):
                continue
            trouble = self._trouble(made)
            if trouble is None:
                self._continue(made.step, made.name, refused)
                if made.name not in self._course.saved:  # killed between its name and its record
                    self._record(made, 0.0)
                return made
            refused.append(f"{made.name}: {trouble}")
        if self._course.figures or refused:
            self._continue(0, "", refused)
        return None

    def _is_between_passes(self, step: int) -> bool:
        """Whether answers were still to be used again after it, which are no part of a checkpoint: one that
        was made there for its evaluation is not gone on from."""
        passes = 1 if self._train.method == "sft" else self._train.passes
        return step % passes != 0 and step < self._train.steps

    def _trouble(self, made: Checkpoint) -> str | None:
        """Why a checkpoint is not to be resumed from."""
        try:
            checkpoints.verify(checkpoints.folder(self._run) / made.name)
        except BadCheckpoint as exc:
            return str(exc)
        missing = [part for part in NEEDED if not any(f.path.startswith(part) for f in made.files)]
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
        self._record(made, round(time.monotonic() - started, 3))
        checkpoints.keep(self._run, self._train.keep, best=True)

    def _record(self, made: Checkpoint, seconds: float) -> None:
        digest = hashlib.sha256("".join(f.sha256 for f in made.files).encode()).hexdigest()
        saved = Saved(step=made.step, name=made.name, bytes=made.bytes, sha=digest, seconds=seconds)
        self._course.saved.add(made.name)
        self._writer.write(saved)

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
        wanted = {"none": (), "both": EXPORTS}.get(self._train.export, (self._train.export,))
        if not wanted:
            return
        self._findings.phase("train", "exporting")
        material = self._material
        parts = Parts(
            trainer.accelerator.unwrap_model(trainer.model),
            material.engine.tokenizer,
            material.engine.folder,
            material.order.model,
        )
        for name in wanted:
            self._export_as(name, parts)

    def _export_as(self, name: str, parts: Parts) -> None:
        found: list[float] = []
        try:
            made = self._publish(
                name, self._train.steps, lambda folder: found.append(export(parts, name, folder))
            )
        except ExportFailed as exc:
            raise Hopeless(str(exc)) from exc
        self._writer.write(Exported(name=made.name, step=made.step, bytes=made.bytes, difference=found[0]))

    # --- a collapse, or a word of the user ---

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
        step = self._discard_after(finding.step - guard.patience * self._train.log_every)
        course.rollbacks += 1
        course.lr_factor *= guard.rollback_lr
        course.back_to(step)
        self._writer.write(guarded(finding, "rollback", step, course.lr_factor))

    def _after_ask(self, ask: Ask, step: int) -> None:
        """Do what the user has asked for at that step's end. Raises Halted for a pause."""
        course = self._course
        done = Steered(id=ask.id, step=step, action=ask.action)
        if ask.action == "rollback":
            done.to_step = self._discard_after(step - 1 if ask.before is None else min(ask.before, step - 1))
            done.lr_factor = course.lr_factor * ask.lr
        course.steered(done.model_dump())
        self._writer.write(done)
        if ask.action == "pause":
            raise Halted(f"paused at a checkpoint by its user, at step {step}")

    def _discard_after(self, last: int) -> int:
        """Throw the checkpoints of later steps away; the step of the newest one that is left, or 0."""
        for made in checkpoints.whole(self._run):
            if made.step > last:
                checkpoints.discard(self._run, made.name)
        return max((made.step for made in checkpoints.whole(self._run)), default=0)
