"""The recorded engine: replays the completions of an earlier run, or of a file made by hand.

It needs no torch and no GPU. It serves to grade a finished run again with other rules, to rehearse a session
before money is spent, and to test everything around the model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent.engines.base import (
    BatchEngine,
    Completion,
    Description,
    EngineError,
    Message,
    Prompt,
    prompt_sha,
    transcript,
)
from remote_agent.protocol import Order

NEXT = "Record completions for this task first, or check `engine.path`, `task` and `task.system`."


class RecordedEngine(BatchEngine):
    """Answers from JSONL rows: `prompt_sha` (or `prompt`), `completion`, `tokens_in`, `tokens_out`, `finish`.

    A row may name its `candidate`; without, it answers all of them. A journal of an earlier run is such a
    file: only its `result` records are used. Its prompts were rendered by a chat template that is not at
    hand here, so where no prompt hash fits, a row that names the `sample` and `candidate` answers it, and
    `describe()` says so. `engine.pace` is the seconds that each batch takes.
    """

    tokenizer: Any | None = None
    context_window: int | None = None
    embedding_rows: int | None = None
    weight_bytes: int | None = None
    free_bytes: int | None = None

    def __init__(self, order: Order) -> None:
        self._order = order
        self._path = order.engine.path
        self._pace = order.engine.pace
        self._answers: Answers = {}

    def prepare(self) -> None:
        if self._path is None:
            raise EngineError("the engine `recorded` needs `path`: a JSONL file of completions")
        self._answers = _read(Path(self._path).expanduser())

    def load(self) -> None:
        """Nothing is left to do after `prepare()`."""

    def describe(self) -> Description:
        by_sample = any(isinstance(key, SampleKey) for key in self._answers)
        how = ", by prompt or by sample" if by_sample else ""
        return Description(self._order.model_id, f"recorded completions of {self._path}{how}", "none")

    def render(self, messages: Sequence[Message]) -> str:
        """A plain rendering that needs no tokenizer."""
        return transcript(messages)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words: no tokenizer is at hand, and all that hangs on it is the order of batches."""
        return [len(text.split()) for text in texts]

    def expect(self, texts: Sequence[str]) -> None:
        """Nothing is computed that could be shared."""

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        answers = [self._answer(prompt) for prompt in prompts]
        time.sleep(self._pace)
        return answers

    def _answer(self, prompt: Prompt) -> Completion:
        keys = (
            PromptKey(prompt.sha, prompt.candidate),
            PromptKey(prompt.sha, None),
            SampleKey(prompt.sample, prompt.candidate),
        )
        for key in keys:
            if key in self._answers:
                return self._answers[key]
        start = prompt.text[:80].replace("\n", " ")
        raise EngineError(
            f"{self._path} has no completion for the prompt {prompt.sha} (sample {prompt.sample}, "
            f"candidate {prompt.candidate}: {start}…). {NEXT}"
        )


@dataclass(frozen=True, slots=True)
class PromptKey:
    sha: str
    candidate: int | None


@dataclass(frozen=True, slots=True)
class SampleKey:
    sample: str
    candidate: int


Answers = dict[PromptKey | SampleKey, Completion]


def _read(path: Path) -> Answers:
    answers: Answers = {}
    for number, row in _rows(path):
        if "completion" not in row:
            continue  # a journal's other records
        try:
            sha = row["prompt_sha"] if "prompt_sha" in row else prompt_sha(row["prompt"])
            answer = Completion(row["completion"], row["tokens_in"], row["tokens_out"], row["finish"])
        except KeyError as exc:
            raise EngineError(f"{path}, line {number}: no field {exc}") from None
        answers[PromptKey(sha, row.get("candidate"))] = answer
        if "sample" in row:
            answers[SampleKey(row["sample"], row.get("candidate", 0))] = answer
    if not answers:
        raise EngineError(f"{path} holds no completions. {NEXT}")
    return answers


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text("utf-8")
    except OSError as exc:
        raise EngineError(f"{path} cannot be read: {exc.strerror}. {NEXT}") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as exc:
            raise EngineError(f"{path}, line {number}: not JSON: {exc}") from None
        if not isinstance(row, dict):
            raise EngineError(f"{path}, line {number}: not a JSON object")
        yield number, row
