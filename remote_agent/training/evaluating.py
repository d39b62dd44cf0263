"""Evaluation in the middle of training: the run's own task, on a fixed subset, with the weights as they are.

The same task, prompts, engine and grading as in any evaluation; only what comes out is one record a time
instead of one a sample.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import torch

from remote_agent.answering import contexts_of, method_for, prompts_of
from remote_agent.engines.transformers import TransformersEngine
from remote_agent.plan import Plan, batches, make_plan
from remote_agent.protocol import Order, Result
from remote_agent.tasks.base import LoadedTask, Task
from remote_agent.train_protocol import Evaluated


class Evaluator:
    """Evaluates a model that is being trained. Nothing of the training's random numbers is used up."""

    def __init__(self, order: Order, task: Task, loaded: LoadedTask, engine: TransformersEngine) -> None:
        self._order = order
        self._task = task
        self._engine = engine
        self._plan: Plan = make_plan(order, task, loaded)

    def evaluate(self, model: Any, step: int, best_before: float | None) -> Evaluated:
        """Grade every sample once. best_before: the best accuracy of earlier evaluations."""
        started = time.monotonic()
        was_training = model.training
        model.eval()
        try:
            with torch.random.fork_rng(), torch.inference_mode():
                self._engine.adopt(model)
                results = self._results()
        finally:
            model.train(was_training)
        return self._summary(results, step, time.monotonic() - started, best_before)

    def _results(self) -> list[Result]:
        spec, engine = self._order.task, self._engine
        contexts = contexts_of(self._task, spec, engine, self._plan)
        prompts, lengths = prompts_of(self._task, self._order, engine, self._plan, contexts)
        by_key = {item.key: length for item, length in zip(self._plan.items, lengths, strict=True)}
        method = method_for(self._task, spec, engine, prompts, by_key, self._order.engine)
        size = self._order.engine.batch_size
        whole = batches(self._plan, lengths, engine.batch if size == "auto" else size, set(), {})
        return [result for batch in whole for result in method.compute(batch)]

    def _summary(
        self, results: list[Result], step: int, seconds: float, best_before: float | None
    ) -> Evaluated:
        right, total = sum(r.verdict == "right" for r in results), len(results)
        return Evaluated(
            step=step,
            task=self._task.name,
            samples=total,
            right=right,
            reasons=dict(Counter(r.reason for r in results)),
            disagree=sum(r.disagree for r in results),
            seconds=round(seconds, 3),
            verdicts={f"{r.sample}/{r.candidate}" if r.candidate else r.sample: r.verdict for r in results},
            best=best_before is None or right / total > best_before,
        )
