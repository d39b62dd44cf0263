"""What is learned from: rows of a JSONL file as chats (to imitate) or as prompts (to answer and be rewarded).

A row of `question` and `answer` is asked as the run's task asks, so that training and evaluation cannot drift
apart. Nothing here knows a tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import DataError, Message, Sample, Task
from remote_agent.train_protocol import TrainData

SHAPES = "`messages`, `prompt` and `completion`, or `question` and `answer`"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `name` says where it stands, for a user."""

    name: str
    prompt: list[Message]
    """The chat up to the answer."""
    answer: str
    """What the assistant is to say; empty where a row has none, which only reinforcement learning may."""
    turns: list[Message] = field(default_factory=list)
    """The whole chat, where the row gave one: all of the assistant's turns in it are learned."""
    fields: dict[str, Any] = field(default_factory=dict)
    """The row as it stands in the file, for rewards."""

    @property
    def chat(self) -> list[Message]:
        return self.turns or [*self.prompt, {"role": "assistant", "content": self.answer}]


@dataclass(frozen=True, slots=True)
class Rows:
    """The chosen rows, and what they are."""

    rows: tuple[Row, ...]
    source: str
    sha256: str

    @property
    def answers(self) -> list[str]:
        return [row.answer for row in self.rows if row.answer]


def read_rows(data: TrainData, task: Task, spec: TaskSpec) -> Rows:
    """The rows that `data` chooses, in the file's order. Raises DataError, naming the file and the line."""
    path = Path(data.path).expanduser()
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}. Correct `train.data.path`.") from None
    rows = [_row(f"{path.name}, line {number}", fields, task, spec) for number, fields in _lines(raw, path)]
    if not rows:
        raise DataError(f"{path} holds no rows.")
    if data.limit is not None and data.limit < len(rows):
        kept = sorted(random.Random(data.seed).sample(range(len(rows)), data.limit))
        rows = [rows[i] for i in kept]
    return Rows(tuple(rows), path.name, hashlib.sha256(raw).hexdigest())


def _lines(raw: bytes, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as exc:
            raise DataError(f"{path}, line {number}: not JSON ({exc}). Mend or delete this line.") from None
        if not isinstance(fields, dict):
            raise DataError(f"{path}, line {number}: not an object. Each line needs {SHAPES}.")
        yield number, fields


def _row(name: str, fields: dict[str, Any], task: Task, spec: TaskSpec) -> Row:
    if "messages" in fields:
        turns = _messages(name, fields["messages"])
        last = turns[-1]
        answer = last["content"] if last["role"] == "assistant" else ""
        return Row(name, turns[:-1] if answer else turns, answer, turns if answer else [], fields)
    if "prompt" in fields:
        system = [{"role": "system", "content": spec.system}] if spec.system is not None else []
        prompt = [*system, {"role": "user", "content": _text(name, fields, "prompt")}]
        answer = _text(name, fields, "completion") if "completion" in fields else ""
        return Row(name, prompt, answer, fields=fields)
    if "question" in fields:
        answer = _text(name, fields, "answer") if "answer" in fields else ""
        return Row(name, _asked(name, fields, task, spec), answer, fields=fields)
    raise DataError(f"{name}: found the fields {', '.join(sorted(fields)[:8])}. Each line needs {SHAPES}.")


def _asked(name: str, fields: dict[str, Any], task: Task, spec: TaskSpec) -> list[Message]:
    sample = Sample(name, _text(name, fields, "question"), str(fields.get("gold", "")))
    context = task.context(sample, spec)
    if isinstance(context, str):
        raise DataError(
            f"{name}: the task `{task.name}` asks in plain text, not in a chat. Give rows with `messages`."
        )
    return context


def _messages(name: str, value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{name}: `messages` is no list of turns.")
    for turn in value:
        if not isinstance(turn, dict) or not all(isinstance(turn.get(k), str) for k in ("role", "content")):
            raise DataError(f"{name}: a turn in `messages` has no text in `role` or `content`.")
    return [{"role": turn["role"], "content": turn["content"]} for turn in value]


def _text(name: str, fields: dict[str, Any], field: str) -> str:
    value = fields[field]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{name}: no text in `{field}`.")
    return value
