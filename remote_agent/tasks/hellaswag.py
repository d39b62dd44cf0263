"""HellaSwag: which of four endings goes on with a short text. The endings are scored.

Zellers et al., "HellaSwag: Can a Machine Really Finish Your Sentence?", arXiv:1905.07830.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import Sample
from remote_agent.tasks.choices import ChoiceTask, letter_at
from remote_agent.tasks.data import Hub, Row

_BRACKETS = re.compile(r"\[.*?\]")


class HellaSwag(ChoiceTask):
    """Rows of `activity_label`, `ctx_a`, `ctx_b`, `endings` and `label` (0 to 3)."""

    name = "hellaswag"
    dataset = "Rowan/hellaswag (validation)"
    licence = "MIT"
    source = "Zellers et al. 2019, arXiv:1905.07830"
    hub = Hub("Rowan/hellaswag")
    split = "validation"

    def sample(self, row: Row, spec: TaskSpec) -> Sample:
        endings = row.texts("endings")
        begun = row.get("ctx_b")
        if not isinstance(begun, str):
            raise row.error("no text in `ctx_b`. It may be empty, but must be there.")
        text = f"{row.text('activity_label')}: {row.text('ctx_a')} {begun.capitalize()}"
        gold = letter_at(row, row.text("label"), endings)
        return Sample(self.row_id(row, spec), clean(text), gold, choices=tuple(map(clean, endings)))

    def ask_scored(self, question: str, choices: Sequence[str]) -> str:
        return question


def clean(text: str) -> str:
    """WikiHow's marks taken out: ` [title]` begins a sentence, other brackets hold nothing to read."""
    text = text.strip().replace(" [title]", ". ")
    return _BRACKETS.sub("", text).replace("  ", " ")
