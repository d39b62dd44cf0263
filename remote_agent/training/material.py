"""What a training is made of, the same in each of its processes: task, rows, tokens and masks, the trainer.

Nothing is checked or recorded here; what cannot be had raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset

from remote_agent.engines.transformers import TransformersEngine
from remote_agent.protocol import Order
from remote_agent.registry import TASKS, load
from remote_agent.tasks.base import Task
from remote_agent.train_protocol import TrainSpec
from remote_agent.training import rewards
from remote_agent.training.actor import Actor
from remote_agent.training.build import Build
from remote_agent.training.masking import Masked, mask_chat
from remote_agent.training.rows import Row, Rows, read_rows


@dataclass
class Material:
    """Of one training. `masked`: of supervised training, each row's tokens and mask."""

    run: Path
    order: Order
    train: TrainSpec
    task: Task
    engine: TransformersEngine
    rows: Rows
    masked: list[Masked] = field(default_factory=list)

    def build(self) -> Build:
        """Loads the weights. Raises RewardError."""
        if self.train.method == "sft":
            data = Dataset.from_list([{"input_ids": m.ids, "labels": m.labels} for m in self.masked])
            return Build(self.train, self.engine, self.run, data, [])
        data = Dataset.from_list(self._prompts())
        actor = Actor(self.engine)
        fields = {row.name: row.fields for row in self.rows.rows}
        source = rewards.Source(self.task, self.order.task, self._workdir, actor, fields)
        functions: list[Any] = list(rewards.build(self.train.rewards, source))
        return Build(self.train, self.engine, self.run, data, functions, actor)

    @property
    def _workdir(self) -> Path:
        """The session's folder, which modules and models are relative to."""
        folder = self.run / "work"
        return folder if folder.exists() else self.run

    def _prompts(self) -> list[dict[str, Any]]:
        graded = any(reward.by == "task" for reward in self.train.rewards)
        return [
            {
                "prompt": row.prompt,
                "gold": self._gold(row, graded),
                "row": row.name,
            }
            for row in self.rows.rows
        ]

    def _gold(self, row: Row, needed: bool) -> str:
        """The right answer; empty where there is none and no grader asks for it. Raises RewardError."""
        try:
            return rewards.gold_of(row, self.task, self.order.task)
        except rewards.RewardError:
            if needed:
                raise
            return ""


def prepare(run: Path, order: Order) -> Material:
    """All but the weights. Raises DataError, EngineError, ModelUnavailable, MaskError."""
    assert order.train is not None
    task: Task = load(TASKS[order.task.name])()
    engine = TransformersEngine(order)
    rows = read_rows(order.train.data, task, order.task)
    engine.prepare()
    material = Material(run, order, order.train, task, engine, rows)
    if order.train.method == "sft":
        only = order.train.assistant_only
        material.masked = [mask_chat(engine.tokenizer, row.chat, only) for row in rows.rows]
    return material
