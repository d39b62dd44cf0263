"""Text continuation: how likely the model finds what follows a text, with or without a thought before it."""

from __future__ import annotations

from typing import ClassVar

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import AnswerFormat, Method, Sample, template_of
from remote_agent.tasks.data import Row
from remote_agent.tasks.table_task import TableTask


class Continuation(TableTask):
    """Rows of `context` and `continuation`; or of `text`, of which the last word is scored, as in LAMBADA."""

    name = "continuation"
    dataset = "the file that `task.path` names"
    licence = "the file's own"
    source = "the user's own texts; the last-word form is that of Paperno et al. 2016, arXiv:1606.06031"
    metric = (
        "negative log-likelihood in nats, in all and per token and byte; perplexity exp(sum of nll / sum of "
        "tokens) (Jelinek et al. 1977); right: greedy decoding would write it"
    )
    methods: ClassVar[tuple[Method, ...]] = ("score",)

    def asks_for(self, spec: TaskSpec) -> AnswerFormat:
        return AnswerFormat("", "", ("greedy",), family="continuation")

    def sample(self, row: Row, spec: TaskSpec) -> Sample:
        if "text" in row.values:
            context, blank, last = row.text("text").rstrip().rpartition(" ")
            if not context.strip():
                raise row.error("the text is one word. Two are needed: what is read, and what is scored.")
            return Sample(self.row_id(row, spec), context, blank + last)
        return Sample(self.row_id(row, spec), row.text("context"), row.text("continuation"))

    def delimiter(self, spec: TaskSpec) -> str:
        return ""

    def spelled(self, sample: Sample, spec: TaskSpec) -> tuple[str, ...]:
        # After a chat template's cue a blank would be a token that no model has learnt to write there.
        chat = template_of(self, spec) == "chat"
        return (sample.gold.removeprefix(" ") if chat else sample.gold,)
