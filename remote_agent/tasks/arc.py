"""ARC: multiple-choice science questions of school tests, an easy and a challenge set.

Clark et al., "Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge",
arXiv:1803.05457.
"""

from __future__ import annotations

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import Sample
from remote_agent.tasks.choices import ChoiceTask, letter_at
from remote_agent.tasks.data import Hub, Row


class ArcEasy(ChoiceTask):
    """Rows of `question`, `choices` (`text`, `label`), `answerKey`; or `query`, `choices`, `gold`."""

    name = "arc_easy"
    dataset = "allenai/ai2_arc (ARC-Easy)"
    licence = "CC BY-SA 4.0"
    source = "Clark et al. 2018, arXiv:1803.05457"
    hub = Hub("allenai/ai2_arc", "ARC-Easy")

    def sample(self, row: Row, spec: TaskSpec) -> Sample:
        name = self.row_id(row, spec)
        if "query" in row.values:
            question = row.text("query").removeprefix("Question: ")
            choices = row.texts("choices")
            return Sample(name, question, letter_at(row, row.text("gold"), choices), choices=choices)
        choices, labels = row.texts("choices.text"), row.texts("choices.label")
        key = row.text("answerKey")
        if key not in labels or len(labels) != len(choices):
            raise row.error(f"the answer {key!r} is not one label of a choice ({', '.join(labels)}).")
        # Some rows label their choices 1 to 4.
        gold = letter_at(row, labels.index(key), choices)
        return Sample(name, row.text("question"), gold, choices=choices)


class ArcChallenge(ArcEasy):
    """The questions that retrieval and co-occurrence get wrong."""

    name = "arc_challenge"
    dataset = "allenai/ai2_arc (ARC-Challenge)"
    hub = Hub("allenai/ai2_arc", "ARC-Challenge")
