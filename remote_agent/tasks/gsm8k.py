"""GSM8K: grade-school mathematics, asked for with reasoning before the answer.

Cobbe et al., "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168. None of it ships with the
package.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import AnswerFormat, Example, Sample
from remote_agent.tasks.data import Hub, Row
from remote_agent.tasks.table_task import TableTask

ASKED = AnswerFormat(
    instruction="Solve the problem step by step. End with a last line that holds #### and then only the "
    "final number.",
    line="#### {}",
    rules=("hashes", "boxed", "answer_is", "last_number"),
)
"""The answer format of problems whose answer is one number."""
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
"""GSM8K's marks for a calculator, which no reader is shown."""


class Gsm8k(TableTask):
    """Rows of `question` and `answer`, whose last line is `#### number`."""

    name = "gsm8k"
    dataset = "openai/gsm8k (main)"
    licence = "MIT"
    source = "Cobbe et al. 2021, arXiv:2110.14168"
    metric = "share of right final numbers, compared as numbers (Cobbe et al. 2021, section 2)"
    hub = Hub("openai/gsm8k", "main")
    styles = ("default", "lm_eval")
    """`lm_eval`: as lm-evaluation-harness asks, without an instruction and with five few-shots."""

    def asks_for(self, spec: TaskSpec) -> AnswerFormat:
        return dataclasses.replace(ASKED, instruction="", line="") if spec.style == "lm_eval" else ASKED

    def shots(self, spec: TaskSpec) -> int:
        return 5 if spec.style == "lm_eval" else 0

    def ask(self, question: str, choices: Sequence[str], spec: TaskSpec) -> str:
        if spec.style == "lm_eval":
            return f"Question: {question}\nAnswer:"
        return super().ask(question, choices, spec)

    def delimiter(self, spec: TaskSpec) -> str:
        return " " if spec.style == "lm_eval" else super().delimiter(spec)

    def stops(self, spec: TaskSpec) -> tuple[str, ...]:
        usual = ("Question:", "</s>", "<|im_end|>") if spec.style == "lm_eval" else ()
        return (*super().stops(spec), *usual)

    def sample(self, row: Row, spec: TaskSpec) -> Sample:
        question, text = row.text("question"), row.text("answer")
        _, mark, answer = text.rpartition("####")
        if not mark:
            raise row.error("the answer has no `####`. Is this GSM8K?")
        return Sample(self.row_id(row, spec), question, row.one_number(answer))

    def example(self, row: Row, spec: TaskSpec) -> Example:
        sample = self.sample(row, spec)
        text = row.text("answer")
        answer = text if spec.style == "lm_eval" else _CALCULATOR.sub("", text)
        return Example(sample.question, answer, sample.gold)
