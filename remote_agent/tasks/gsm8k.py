"""GSM8K: grade-school mathematics, asked for without examples, with reasoning before the answer.

Cobbe et al., "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168. The samples come from a
JSONL file on the instance or from the hub's data set `openai/gsm8k`; none ship with the package.
"""

from __future__ import annotations

import json
import logging

from remote_agent import models
from remote_agent.protocol import TaskSpec
from remote_agent.tasks import base
from remote_agent.tasks.base import AnswerFormat, DataError, Grade, LoadedTask, Message, Sample

log = logging.getLogger("task")

HUB_ID = "openai/gsm8k"
NEXT = (
    "Next: sync a JSONL file of `question` and `answer` (ending in `#### number`) and name it in `task.path`."
)


class Gsm8k:
    """Rows of `question` and `answer`, whose last line is `#### number`."""

    name = "gsm8k"
    licence = "MIT"
    source = "Cobbe et al. 2021, arXiv:2110.14168"
    format = AnswerFormat(
        instruction="Solve the problem step by step. End with a last line that holds #### and then only the "
        "final number.",
        line="#### {}",
        rules=("hashes", "boxed", "answer_is", "last_number"),
    )

    def load(self, spec: TaskSpec) -> LoadedTask:
        where = spec.path or f"{HUB_ID} ({spec.split})"
        data = base.read_file(spec.path) if spec.path else _from_hub(spec.split)
        samples = []
        for number, row in base.read_rows(data, where):
            _, mark, answer = row["answer"].rpartition("####")
            if not mark:
                raise DataError(f"{where}, line {number}: the answer has no `####`. Is this GSM8K?")
            gold = base.gold_number(answer, where, number)
            name = str(row.get("id", f"{spec.split}-{number - 1:04d}"))
            samples.append(Sample(name, row["question"], gold))
        return base.loaded(samples, spec, where, data)

    def messages(self, sample: Sample, spec: TaskSpec) -> list[Message]:
        return base.ask(sample.question, self.format, spec)

    def grade(self, sample: Sample, completion: str, finish: str) -> Grade:
        return base.grade_number(sample.gold, completion, finish, self.format)


def _from_hub(split: str) -> bytes:
    """The split as JSONL. Raises DataError where the hub or the library for it is missing."""
    try:
        import datasets
        import huggingface_hub  # noqa: F401  the probe needs it
    except ImportError as exc:
        raise DataError(f"GSM8K needs `task.path`, or the package {exc.name} to fetch it. {NEXT}") from None
    if not models.hub_within_reach():
        raise DataError(f"GSM8K is not on this instance, and the hub is out of its reach. {NEXT}")
    log.info("fetching %s from the hub", HUB_ID)
    try:
        rows = datasets.load_dataset(HUB_ID, "main", split=split)
    except (OSError, ValueError) as exc:
        raise DataError(f"{HUB_ID} could not be fetched: {str(exc).splitlines()[0]}. {NEXT}") from exc
    return "".join(json.dumps(dict(row)) + "\n" for row in rows).encode()
