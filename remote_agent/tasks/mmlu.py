"""MMLU: four-choice questions of 57 subjects; the letters are scored.

Hendrycks et al., "Measuring Massive Multitask Language Understanding", arXiv:2009.03300.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import AnswerFormat, Message, Sample, method_of
from remote_agent.tasks.choices import ChoiceTask, letter_at, lettered
from remote_agent.tasks.data import Hub, Row
from remote_agent.tasks.grading import LETTERS

_SPLIT = re.compile(r"_(test|dev|val|validation|train)$")


class Mmlu(ChoiceTask):
    """Rows of `question`, `choices` or `choice0` to `choice3`, `answer` (0 to 3), maybe `subject`.

    `path` may be a folder of CSV files named by their subject. Few-shots are the first of the same subject.
    """

    name = "mmlu"
    dataset = "cais/mmlu (all)"
    licence = "MIT"
    source = "Hendrycks et al. 2021, arXiv:2009.03300"
    hub = Hub("cais/mmlu", "all")
    shots_by_category = True
    scored = AnswerFormat("", "", ("acc", "acc_norm", "acc_bytes", "acc_tokens"), family="score")
    styles = ("default", "letter")
    """`letter`: a generated answer is asked for as in scoring, and is one line."""

    def asks_for(self, spec: TaskSpec) -> AnswerFormat:
        if method_of(self, spec) == "generate" and spec.style == "letter":
            return AnswerFormat("", "", ("only_letter", "answer_is", "choice_text"), family="choice")
        return super().asks_for(spec)

    def sample(self, row: Row, spec: TaskSpec) -> Sample:
        numbered = "choice0" in row.values
        choices = tuple(row.text(f"choice{n}") for n in range(4)) if numbered else row.texts("choices")
        subject = str(row.get("subject") or _SPLIT.sub("", row.file))
        name = f"{subject}-{row.index:04d}" if row.file else self.row_id(row, spec)
        gold = letter_at(row, row.text("answer"), choices)
        return Sample(name, row.text("question").strip(), gold, category=subject, choices=choices)

    def ask(self, question: str, choices: Sequence[str], spec: TaskSpec) -> str:
        if spec.style == "letter":
            return self.ask_scored(question, choices)
        return super().ask(question, choices, spec)

    def ask_scored(self, question: str, choices: Sequence[str]) -> str:
        return f"{question}\n{lettered(choices)}\nAnswer:"

    def delimiter(self, spec: TaskSpec) -> str:
        return " " if spec.style == "letter" else super().delimiter(spec)

    def stops(self, spec: TaskSpec) -> tuple[str, ...]:
        return (*super().stops(spec), *(("\n",) if spec.style == "letter" else ()))

    def spelled(self, sample: Sample, spec: TaskSpec) -> tuple[str, ...]:
        return tuple(LETTERS[: len(sample.choices)])

    def context(self, sample: Sample, spec: TaskSpec, thought: str | None = None) -> str | list[Message]:
        if method_of(self, spec) == "generate" and spec.style == "default":
            return super().context(sample, spec, thought)
        subject = sample.category.replace("_", " ")
        lead = f"The following are multiple choice questions (with answers) about {subject}."
        system = lead if spec.system is None else f"{spec.system}\n\n{lead}"
        return super().context(sample, spec.model_copy(update={"system": system}), thought)
