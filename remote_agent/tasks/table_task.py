"""A task whose samples are rows of a table: how they are loaded, with the few-shots that go before them.

What a row means is left to the task: `sample()` and `example()`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from remote_agent.protocol import ChoiceScore, TaskSpec
from remote_agent.tasks import data, grading
from remote_agent.tasks.base import DataError, Example, Grade, LoadedTask, Sample, Task, method_of
from remote_agent.tasks.data import Hub, Row, Table


class TableTask(Task):
    """Rows from `task.path`, from what ships, or from the hub."""

    hub: ClassVar[Hub | None] = None
    split: ClassVar[str] = "test"
    """The hub's split that is evaluated."""
    shipped: ClassVar[str | None] = None
    """A file of the package's `tasks/data`."""
    shots_by_category: ClassVar[bool] = False
    """Few-shots are of the question's category."""

    def sample(self, row: Row, spec: TaskSpec) -> Sample | None:
        """The row as a sample; None leaves it out (`notes()` must then say so). Raises DataError."""
        raise NotImplementedError

    def example(self, row: Row, spec: TaskSpec) -> Example:
        """The row as a few-shot: what `sample()` asks, and the answer as an assistant would write it."""
        sample = self._needed(row, spec)
        answer = sample.gold
        line = self.answer_format(spec).line
        if method_of(self, spec) == "score":
            answer = self.spelled(sample, spec)[grading.LETTERS.index(sample.gold)]
        elif line:
            answer = line.format(sample.gold)
        return Example(sample.question, answer, sample.gold, sample.choices)

    def shots(self, spec: TaskSpec) -> int:
        """Few-shots where `task.fewshot` says nothing."""
        return len(self.answer_format(spec).examples)

    def notes(self, found: Table, spec: TaskSpec) -> list[str]:
        """What a user should know about these rows."""
        return []

    def row_id(self, row: Row, spec: TaskSpec) -> str:
        """The row's own id, or its place in the data."""
        own = row.values.get("id", row.values.get("ID"))
        return str(own) if own not in (None, "") else f"{spec.split or self.split}-{row.number - 1:04d}"

    def load(self, spec: TaskSpec) -> LoadedTask:
        if self.style(spec) not in self.styles:
            styles = ", ".join(self.styles)
            raise DataError(f"the task {self.name} has no style `{spec.style}`; allowed: {styles}")
        found = self._table(spec)
        samples = [s for row in found.rows if (s := self.sample(row, spec)) is not None]
        chosen = data.loaded(samples, spec, found, self.notes(found, spec))
        return dataclasses.replace(chosen, samples=self._with_examples(chosen.samples, spec))

    def _table(self, spec: TaskSpec) -> Table:
        if spec.path:
            return data.read(spec.path, spec.split or self.split)
        if self.shipped:
            return data.shipped(self.shipped, f"{self.name.replace('_', ' ')} of the package")
        return data.from_hub(self.hub, spec.split or self.split, self.name)

    def _with_examples(self, samples: Sequence[Sample], spec: TaskSpec) -> tuple[Sample, ...]:
        count = self.shots(spec) if spec.fewshot is None else spec.fewshot
        if count == 0:
            return tuple(samples)
        pools = self._pools(spec)
        return tuple(
            dataclasses.replace(sample, examples=self._shown(sample, pools, count)) for sample in samples
        )

    def _pools(self, spec: TaskSpec) -> dict[str, list[Example]]:
        """Examples by category; all of them under the empty one."""
        if spec.examples is None:
            return {"": list(self.answer_format(spec).examples)}
        pools: dict[str, list[Example]] = {"": []}
        for row in data.read(spec.examples).rows:
            example = self.example(row, spec)
            pools[""].append(example)
            if self.shots_by_category:
                pools.setdefault(self._needed(row, spec).category, []).append(example)
        return pools

    def _needed(self, row: Row, spec: TaskSpec) -> Sample:
        sample = self.sample(row, spec)
        if sample is None:
            raise row.error("cannot serve as a few-shot: the row is malformed. Delete it.")
        return sample

    def _shown(self, sample: Sample, pools: dict[str, list[Example]], count: int) -> tuple[Example, ...]:
        """The first examples, never the question itself."""
        pool = (pools.get(sample.category) if self.shots_by_category else None) or pools[""]
        shown = [example for example in pool if example.question != sample.question][:count]
        if len(shown) < count:
            raise DataError(
                f"{count} few-shots are wanted, and there are {len(shown)} for {sample.id}. "
                "Next: name a file with more in `task.examples`, or lower `task.fewshot`."
            )
        return tuple(shown)

    def grade(self, sample: Sample, completion: str, finish: str, spec: TaskSpec) -> Grade:
        return grading.grade(sample, completion, finish, self.answer_format(spec), spec)

    def judge(self, sample: Sample, scores: Sequence[ChoiceScore], spec: TaskSpec) -> Grade:
        return grading.judge(sample, scores, self.answer_format(spec))
