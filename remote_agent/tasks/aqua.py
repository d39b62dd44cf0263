"""AQuA-RAT: algebra word problems with five choices.

Ling et al., "Program Induction by Rationale Generation: Learning to Solve and Explain Algebraic Word
Problems", arXiv:1705.04146.
"""

from __future__ import annotations

import re

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import Example, Sample, method_of
from remote_agent.tasks.choices import ChoiceTask
from remote_agent.tasks.data import Hub, Row
from remote_agent.tasks.grading import LETTERS

_LABEL = re.compile(r"\s*([A-E])\s*\)\s*")


class Aqua(ChoiceTask):
    """Rows of `question`, `options` (`A)…` to `E)…`) and `correct`, maybe `rationale`."""

    name = "aqua"
    dataset = "deepmind/aqua_rat (raw)"
    licence = "Apache-2.0"
    source = "Ling et al. 2017, arXiv:1705.04146"
    hub = Hub("deepmind/aqua_rat", "raw")
    methods = ("generate", "score")

    def sample(self, row: Row, spec: TaskSpec) -> Sample:
        texts = []
        for letter, option in zip(LETTERS, row.texts("options"), strict=False):
            label = _LABEL.match(option)
            if label is None or label[1] != letter:
                raise row.error(f"the option {option[:40]!r} does not begin with `{letter})`.")
            texts.append(option[label.end() :].strip())
        gold = row.text("correct").strip()
        if gold not in LETTERS[: len(texts)] or len(gold) != 1:
            raise row.error(f"the right option is {gold!r}; allowed: A to {LETTERS[len(texts) - 1]}.")
        return Sample(self.row_id(row, spec), row.text("question").strip(), gold, choices=tuple(texts))

    def example(self, row: Row, spec: TaskSpec) -> Example:
        shown = super().example(row, spec)
        if method_of(self, spec) == "score":
            return shown
        answer = f"{row.text('rationale').strip()}\nAnswer: {shown.gold}"
        return Example(shown.question, answer, shown.gold, shown.choices)
