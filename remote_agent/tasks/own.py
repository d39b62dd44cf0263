"""A user's own task: a file of rows and a few lines of the spec, no Python.

The spec's `task.own` says how a row becomes a prompt and what is right; everything else (few-shots,
extractors, scoring, grading) is what the other tasks have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from remote_agent.protocol import ChoiceScore, OwnSpec, TaskSpec
from remote_agent.registry import METRICS
from remote_agent.tasks import choices, grading
from remote_agent.tasks.base import AnswerFormat, DataError, Example, Grade, LoadedTask, Sample, method_of
from remote_agent.tasks.data import Row
from remote_agent.tasks.table_task import TableTask

CHOICES = "choices"
"""`{{choices}}` stands for the lettered choices, whatever the row's field is called."""
_FIELD = re.compile(r"\{\{ *([\w.-]+) *\}\}")
_RULES = {
    "number": ("hashes", "boxed", "answer_is", "last_number"),
    "choice": choices.RULES,
    "text": ("whole",),
    "contains": ("whole",),
    "call": ("tool_call", "json", "python", "no_call"),
}
_TEXTS = ("text", "contains")
_BY_LINE = {"####": "hashes", "\\boxed": "boxed", "<tool_call>": "tool_call"}


class Own(TableTask):
    """What `task.own` says."""

    name = "own"
    dataset = "the file that `task.path` names"
    licence = "the file's own"
    source = "the user's own rows"
    metric = "what `task.own.metric` says: number, choice, text, contains or call; scored: acc and its norms"
    methods = ("generate", "score")

    def asks_for(self, spec: TaskSpec) -> AnswerFormat:
        own = _own(spec)
        if method_of(self, spec) == "score":
            if not own.choices:
                return AnswerFormat("", "", ("greedy",), family="continuation")
            # Letters are of one length; texts are not.
            norms = ("acc", "acc_norm") if _lettered(own) else ("acc_norm", "acc")
            return AnswerFormat("", "", (*norms, "acc_bytes", "acc_tokens"), family="score")
        usual = _RULES[own.metric]
        first = next((rule for mark, rule in _BY_LINE.items() if mark in own.line), usual[0])
        rules = (first, *(rule for rule in usual if rule != first))
        return AnswerFormat(own.instruction, own.line, rules, family=own.metric)

    def load(self, spec: TaskSpec) -> LoadedTask:
        own = _own(spec)
        if spec.path is None:
            raise DataError("the task own needs `task.path`: the file with its rows.")
        if own.metric not in METRICS:
            raise DataError(f"`own.metric` is {own.metric!r}; allowed: {', '.join(METRICS)}.")
        if own.metric == "choice" and not own.choices:
            raise DataError("`own.metric: choice` needs `own.choices`: the field with the choices.")
        return super().load(spec)

    def sample(self, row: Row, spec: TaskSpec) -> Sample:
        own = _own(spec)
        given = _choices(row, own)
        data = {"tools": _parsed(row, own.tools)} if own.tools else {}
        return Sample(
            id=row.text(own.id) if own.id else f"row-{row.number}",
            question=_filled(own.prompt, row, given),
            gold=self._gold(row, own, given, spec),
            category=row.text(own.category) if own.category else "",
            choices=given,
            data={**data, **_others(row, own)},
        )

    def _gold(self, row: Row, own: OwnSpec, given: tuple[str, ...], spec: TaskSpec) -> str:
        if given:
            return _letter(row, own, given)
        if own.metric == "number" and method_of(self, spec) == "generate":
            return row.number_in(own.answer)
        if own.metric in _TEXTS and isinstance(row.get(own.answer), list):
            return row.texts(own.answer, least=1)[0]
        if own.metric == "call":
            return json.dumps(_parsed(row, own.answer), ensure_ascii=False, sort_keys=True)
        return row.text(own.answer)

    def example(self, row: Row, spec: TaskSpec) -> Example:
        own = _own(spec)
        sample = self.sample(row, spec)
        if method_of(self, spec) == "score":
            at = grading.LETTERS.index(sample.gold) if sample.choices else 0
            answer = self.spelled(sample, spec)[at]
        else:
            answer = own.line.replace("{}", sample.gold) if own.line else sample.gold
        return Example(sample.question, answer, sample.gold, sample.choices)

    def ask(self, question: str, choices: Sequence[str], spec: TaskSpec) -> str:
        instruction = self.answer_format(spec).instruction
        return f"{question}\n\n{instruction}" if instruction else question

    def delimiter(self, spec: TaskSpec) -> str:
        # A prompt that ends in a cue (`Answer:`) is gone on with on the same line.
        return " " if _own(spec).prompt.rstrip().endswith(":") else super().delimiter(spec)

    def spelled(self, sample: Sample, spec: TaskSpec) -> tuple[str, ...]:
        if not sample.choices:
            return (sample.gold,)
        return (
            tuple(grading.LETTERS[: len(sample.choices)])
            if _lettered(_own(spec))
            else tuple(c.strip() for c in sample.choices)
        )

    def judge(self, sample: Sample, scores: Sequence[ChoiceScore], spec: TaskSpec) -> Grade:
        return grading.judge(sample, scores, self.answer_format(spec))


def _own(spec: TaskSpec) -> OwnSpec:
    if spec.own is None:
        raise DataError("the task own needs `task.own`: at least its `prompt`.")
    return spec.own


def _lettered(own: OwnSpec) -> bool:
    return any(name == CHOICES for name in _FIELD.findall(own.prompt))


def _filled(template: str, row: Row, given: tuple[str, ...]) -> str:
    """The template with the row's fields. Raises DataError for a field that the row has not."""

    def value(match: re.Match[str]) -> str:
        if match[1] == CHOICES and given:
            return choices.lettered(given)
        return row.text(match[1])

    return _FIELD.sub(value, template)


def _choices(row: Row, own: OwnSpec) -> tuple[str, ...]:
    if len(own.choices) != 1:
        return tuple(row.text(field) for field in own.choices)
    (field,) = own.choices
    if isinstance(row.get(field), str):  # a CSV file holds the list as JSON
        row = row.with_value(field, _parsed(row, field))
    return row.texts(field)


def _others(row: Row, own: OwnSpec) -> dict[str, Any]:
    """A text may have several right answers: a list of them."""
    several = own.metric in _TEXTS and isinstance(row.get(own.answer), list)
    return {"answers": list(row.texts(own.answer, least=1)[1:])} if several else {}


def _letter(row: Row, own: OwnSpec, given: tuple[str, ...]) -> str:
    """The right choice's letter, from its letter, its number (from 0) or its text."""
    answer, value = row.text(own.answer).strip(), row.get(own.answer)
    known = grading.LETTERS[: len(given)]
    texts = [choice.strip() for choice in given]
    by_number = int(answer) if answer.isascii() and answer.isdigit() else len(given)
    meant = {known[by_number]} if by_number < len(given) else set()
    if isinstance(value, str):  # a number of the file is a choice's number, a text may be any of the three
        meant |= {letter for letter, text in zip(known, texts, strict=True) if text == answer}
        meant |= {answer.upper()} if len(answer) == 1 and answer.upper() in known else set()
    if len(meant) == 1:
        return meant.pop()
    if meant:
        raise row.error(f"the answer {answer!r} may mean {' or '.join(sorted(meant))}. Give the letter.")
    raise row.error(
        f"the answer {answer[:40]!r} is no choice; allowed: a letter from A to {known[-1]}, a number from 0 "
        f"to {len(given) - 1}, or one choice's text."
    )


def _parsed(row: Row, field: str) -> Any:
    """A field's JSON value, which may stand there as text."""
    value = row.get(field)
    if value is None:
        raise row.error(f"no value in `{field}`. Each row needs one.")
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise row.error(f"`{field}` is not JSON.") from None
