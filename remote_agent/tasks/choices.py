"""What multiple-choice tasks have in common: lettered choices, scored as they are or answered with a letter.

Scored, a task's prompt is the one that is usual for its data set, so that numbers can be held against
published ones; which harness's rules these are is said in docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import AnswerFormat, Method, method_of
from remote_agent.tasks.data import Row
from remote_agent.tasks.grading import LETTERS
from remote_agent.tasks.table_task import TableTask

RULES = ("answer_is", "boxed", "json", "only_letter", "choice_text", "last_letter")
ASKED = AnswerFormat(
    instruction="Think it through, then end with a last line `Answer: X`, where X is the letter of the "
    "right choice.",
    line="Answer: {}",
    rules=RULES,
    family="choice",
)
"""The answer format where a letter is to be written."""
SCORED = AnswerFormat(
    instruction="", line="", rules=("acc_norm", "acc", "acc_bytes", "acc_tokens"), family="score"
)
"""Where the choices are scored: by length, since long choices are less likely."""


class ChoiceTask(TableTask):
    """A question with choices. `Sample.gold` is the right one's letter."""

    methods: ClassVar[tuple[Method, ...]] = ("score", "generate")
    metric = (
        "share of right choices; scored: the likeliest by log-likelihood (acc), per character (acc_norm), "
        "per byte (acc_bytes), per token (acc_tokens), as in Gao 2021, 'Multiple Choice Normalization in LM "
        "Evaluation'"
    )
    scored = SCORED

    def asks_for(self, spec: TaskSpec) -> AnswerFormat:
        return ASKED if method_of(self, spec) == "generate" else self.scored

    def ask(self, question: str, choices: Sequence[str], spec: TaskSpec) -> str:
        if method_of(self, spec) == "score":
            return self.ask_scored(question, choices)
        return f"{question}\n\n{lettered(choices)}\n\n{self.answer_format(spec).instruction}"

    def ask_scored(self, question: str, choices: Sequence[str]) -> str:
        """The context that each choice is scored after."""
        return f"Question: {question}\nAnswer:"


def lettered(choices: Sequence[str]) -> str:
    """`A. …`, `B. …`, a line each."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=False))


def letter_at(row: Row, index: str | int, choices: Sequence[str]) -> str:
    """The letter of the choice with that number, from 0. Raises DataError."""
    text = str(index).strip()
    if not text.isascii() or not text.isdigit() or int(text) >= len(choices):
        raise row.error(f"the right choice is {index!r}; allowed: 0 to {len(choices) - 1}.")
    return LETTERS[int(text)]
