"""What happens around each step: its figures go into the journal, the guard looks at them, the task is
evaluated, and a finding of the guard ends this pass of the trainer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from transformers import TrainerCallback

from remote_agent.evaluation import PatientWriter
from remote_agent.train_protocol import Ask, Evaluated, Guarded, Steered, Step, TrainSpec
from remote_agent.training.asks import Asks
from remote_agent.training.course import Course
from remote_agent.training.guard import Finding, Guard
from remote_agent.training.trainers import figures, finite

log = logging.getLogger("training")

Evaluate = Callable[[Any, int, float | None], Evaluated]


class Watch(TrainerCallback):  # type: ignore[misc]
    """Of one pass of the trainer. `finding`, `ask`: what ended it, where the guard or the user did.

    writer: the journal's, or None in a process that is not the first; so are `evaluate` and `asks`.
    """

    def __init__(
        self,
        train: TrainSpec,
        course: Course,
        writer: PatientWriter | None,
        evaluate: Evaluate | None,
        asks: Asks | None = None,
    ) -> None:
        self._train = train
        self._course = course
        self._writer = writer
        self._evaluate = evaluate
        self._asks = asks
        self._guard = Guard(train.guard.model_copy(update={"epsilon": train.epsilon}))
        self._guard.pardon(course.pardoned)
        for step in sorted(course.figures):
            self._guard.see(step, course.figures[step])
        # TRL counts the tokens of supervised training anew in each process and pass.
        self._tokens_before = course.trained_on if train.method == "sft" else 0
        self._tokens = 0.0
        self._clock = time.monotonic()
        self.finding: Finding | None = None
        self.ask: Ask | None = None
        self.asked_at = 0
        """The step at whose end `ask` was taken."""

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **kwargs: Any) -> None:
        """Set the learning rate, which a rollback has lowered, and evaluate what training begins with."""
        self._clock = time.monotonic()
        _set_rate(kwargs["lr_scheduler"], kwargs["optimizer"], self._train.lr * self._course.lr_factor)
        every = self._train.eval_every
        if every and state.global_step % every == 0 and state.global_step not in self._course.accuracy:
            self._evaluated(kwargs["model"], state.global_step)

    def on_log(self, _args: Any, state: Any, control: Any, logs: Any = None, **_kwargs: Any) -> None:
        if "loss" not in (logs or {}):
            return  # the summary at the end
        found = figures(logs)
        tokens = found.pop("tokens", None)
        if tokens is not None:
            tokens += self._tokens_before
            now = time.monotonic()
            if self._tokens and tokens > self._tokens:
                found["tokens_per_second"] = (tokens - self._tokens) / max(1e-9, now - self._clock)
            self._tokens, self._clock = tokens, now
        step = state.global_step
        self._course.figures[step] = found
        self._course.tokens[step] = int(tokens or self._tokens)
        self._write(Step(step=step, tokens=self._course.tokens[step], figures=finite(found)))
        for finding in self._guard.see(step, found):
            self._act(finding, control)

    def on_step_end(self, _args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        every, step = self._train.eval_every, state.global_step
        if every and (step % every == 0 or step >= self._train.steps) and self.finding is None:
            # The best one is kept, so there must be a checkpoint of it, whatever `save_every` says.
            control.should_save = self._evaluated(kwargs["model"], step) or control.should_save
        if step >= self._train.steps:
            control.should_save = True
        elif ask := self._asked():
            self._steer(ask, step, control)

    def _asked(self) -> Ask | None:
        """What the user asks for now; all processes of the training learn of it at the same step."""
        ask = self._asks.next() if self._asks else None
        if self._train.processes > 1:
            accelerate: Any = import_module("accelerate.utils")
            (ask,) = accelerate.broadcast_object_list([ask])
        return ask

    def _steer(self, ask: Ask, step: int, control: Any) -> None:
        log.warning("step %d: asked to %s", step, ask.action)
        if ask.action == "ignore":
            done = Steered(id=ask.id, step=step, action=ask.action, until=step + ask.steps)
            self._guard.pardon(step + ask.steps)
            self._course.steered(done.model_dump())
            self._write(done)
            return
        self.ask, self.asked_at = ask, step
        control.should_training_stop = True
        control.should_save = ask.action == "pause"

    def _evaluated(self, model: Any, step: int) -> bool:
        """Evaluate; whether it is the best so far."""
        if self._evaluate is None or self._train.eval_every is None:
            return False
        record = self._evaluate(model, step, self._course.best)
        self._course.accuracy[step] = record.right / max(1, record.samples)
        self._write(record)
        # What was computed meanwhile says nothing about the training's speed.
        self._tokens = 0.0
        return record.best

    def _act(self, finding: Finding, control: Any) -> None:
        action = self._train.guard.action
        log.warning("step %d, %s: %s", finding.step, finding.rule, finding.message)
        if action == "alarm":
            self._write(guarded(finding, "alarm"))
            return
        if self.finding is None:
            self.finding = finding
            control.should_training_stop = True
            control.should_save = action == "pause"

    def _write(self, record: Any) -> None:
        if self._writer is not None:
            self._writer.write(record)


def _set_rate(scheduler: Any, optimizer: Any, rate: float) -> None:
    """Make `rate` the learning rate that the schedule is a share of, from the next step on."""
    scheduler = getattr(scheduler, "scheduler", scheduler)  # accelerate wraps it
    change = rate / scheduler.base_lrs[0]
    scheduler.base_lrs = [rate for _ in scheduler.base_lrs]
    for group in optimizer.param_groups:
        group["initial_lr"] = rate
        group["lr"] *= change
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]  # what the trainer logs


def guarded(finding: Finding, action: str, to_step: int | None = None, lr_factor: float = 1.0) -> Guarded:
    """The record of what was done about a finding."""
    fields = {"step": finding.step, "rule": finding.rule, "message": finding.message, "action": action}
    return Guarded.model_validate({**fields, "to_step": to_step, "lr_factor": lr_factor})
