"""What an answer is worth: the grader of the run's task, a user's own function, or a reward model.

Each reward is a function as TRL calls it: lists of prompts, completions and the rows' fields in, a list of
numbers out. A reward that is no finite number, or the wrong count of them, is an error that names its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import Sample, Task
from remote_agent.train_protocol import RewardSpec
from remote_agent.training.rows import Row
from remote_agent.user_code import UserCodeError, function_of

Reward = Callable[..., list[float]]


class RewardError(Exception):
    """A reward cannot be computed; the message names its source."""


@dataclass(frozen=True, slots=True)
class Source:
    """What rewards are made of."""

    task: Task
    spec: TaskSpec
    folder: Path
    """The session's folder, which modules are relative to."""
    actor: Any = None
    """The model that is trained, for functions that ask it (`actor.Actor`)."""
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Row → its fields as they stand in the file."""


def build(specs: Sequence[RewardSpec], source: Source) -> list[Reward | str]:
    """One for each of `specs`, in order; a string is a model that TRL loads itself. Raises RewardError."""
    return [_one(reward, source) for reward in specs]


def _one(reward: RewardSpec, source: Source) -> Reward | str:
    if reward.by == "model":
        assert reward.model is not None
        local = source.folder / reward.model
        return str(local) if local.is_dir() else reward.model
    if reward.by == "module":
        function = _from_module(reward, source.folder)
        return _checked(function, f"{reward.module}: {reward.function}", source)
    return task_reward(source.task, source.spec)


def task_reward(task: Task, spec: TaskSpec) -> Reward:
    """1 where the task's grader says right, else 0: what the evaluation will count."""

    def right_answer(completions: list[Any], gold: list[str], **_fields: Any) -> list[float]:
        pairs = zip(completions, gold, strict=True)
        return [float(_verdict(task, spec, text_of(c), g) == "right") for c, g in pairs]

    return right_answer


def gold_of(row: Row, task: Task, spec: TaskSpec) -> str:
    """The right answer of a row: its field `gold`, else what the task's rules read out of its answer.

    Raises RewardError, naming the row.
    """
    if "gold" in row.fields:
        return str(row.fields["gold"])
    grade = task.grade(Sample(row.name, "", "0"), row.answer, "stop", spec) if row.answer else None
    if grade is None or grade.extracted is None:
        raise RewardError(f"{row.name}: no right answer in `gold`, and none can be read out of `answer`")
    return grade.extracted


def _verdict(task: Task, spec: TaskSpec, completion: str, gold: str) -> str:
    return task.grade(Sample("", "", gold), completion, "stop", spec).verdict


def text_of(completion: Any) -> str:
    """The answer's text: TRL hands over a chat's turns where the prompt was a chat."""
    return completion if isinstance(completion, str) else "".join(turn["content"] for turn in completion)


def _from_module(reward: RewardSpec, folder: Path) -> Callable[..., Any]:
    path = folder / str(reward.module)
    if not path.is_file():
        raise RewardError(f"{path} is no Python file; `module` is relative to the session's folder")
    try:
        return function_of(path, reward.function, f"reward_{path.stem}")
    except UserCodeError as exc:
        raise RewardError(str(exc)) from exc


def _checked(function: Callable[..., Any], name: str, source: Source) -> Reward:
    def own_reward(prompts: list[Any], completions: list[Any], row: list[str], **more: Any) -> list[float]:
        fields = [source.fields.get(each, {}) for each in row]
        given = {"prompts": prompts, "completions": completions, "row": row, "fields": fields}
        try:
            values = [float(value) for value in function(**given, actor=source.actor, **more)]
        except Exception as exc:
            raise RewardError(f"{name}: {type(exc).__name__}: {exc}") from exc
        if len(values) != len(completions):
            raise RewardError(f"{name} returned {len(values)} numbers for {len(completions)} answers")
        if not all(map(math.isfinite, values)):
            raise RewardError(f"{name} returned a value that is not a finite number")
        return values

    return own_reward
