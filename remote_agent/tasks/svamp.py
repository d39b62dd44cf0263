"""SVAMP: short arithmetic word problems whose wording was varied on purpose.

Patel, Bhattamishra and Goyal, "Are NLP Models really able to Solve Simple Math Word Problems?",
arXiv:2103.07191.
"""

from __future__ import annotations

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import AnswerFormat, Sample
from remote_agent.tasks.data import Hub, Row
from remote_agent.tasks.gsm8k import ASKED
from remote_agent.tasks.table_task import TableTask


class Svamp(TableTask):
    """Rows of `Body`, `Question` and `Answer`, maybe `ID` and `Type`."""

    name = "svamp"
    dataset = "ChilleD/SVAMP"
    licence = "MIT"
    source = "Patel, Bhattamishra and Goyal 2021, arXiv:2103.07191"
    metric = "share of right final numbers, compared as numbers (Patel et al. 2021, section 5)"
    hub = Hub("ChilleD/SVAMP")

    def asks_for(self, spec: TaskSpec) -> AnswerFormat:
        return ASKED

    def sample(self, row: Row, spec: TaskSpec) -> Sample:
        question = f"{row.text('Body').strip()} {row.text('Question').strip()}"
        kind = str(row.get("Type") or "")
        # The file holds 145.0 where the answer is 145: rules that compare texts would call 145 wrong.
        gold = row.number_in("Answer").removesuffix(".0")
        return Sample(self.row_id(row, spec), question, gold, category=kind)
