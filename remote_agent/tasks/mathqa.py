"""MathQA: math word problems with five choices, which stand in one text that is malformed in some rows.

Amini et al., "MathQA: Towards Interpretable Math Word Problem Solving with Operation-Based Formalisms",
arXiv:1905.13319.
"""

from __future__ import annotations

import itertools
import re

from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import Sample
from remote_agent.tasks.choices import ChoiceTask
from remote_agent.tasks.data import Hub, Row, Table
from remote_agent.tasks.grading import LETTERS

_LABEL = re.compile(r"(?:^|(?<=[\s,'\"\[]))([a-e]) ?\) ?")
_SHOWN = 5
"""Rows that a note names."""


class MathQa(ChoiceTask):
    """Rows of `problem` (or `Problem`), `options` and `correct` (a to e), maybe `category`.

    Options with doubled labels (`a ) a ) 10`) or in the form of a Python list are read as they are meant, and
    the sample says so in its data. Rows whose options cannot be told apart are left out. Both are counted in
    the notes.
    """

    name = "mathqa"
    dataset = "regisss/math_qa"
    licence = "Apache-2.0"
    source = "Amini et al. 2019, arXiv:1905.13319"
    hub = Hub("regisss/math_qa")

    def sample(self, row: Row, spec: TaskSpec) -> Sample | None:
        texts, repair = options(row.text("options"))
        if len(texts) != 5:
            return None
        gold = row.text("correct").strip().upper()
        if gold not in tuple(LETTERS[:5]):
            raise row.error(f"the right option is {gold!r}; allowed: a to e.")
        question = row.text("problem" if "problem" in row.values else "Problem").strip()
        data = {"options_repaired": repair} if repair else {}
        return Sample(self.row_id(row, spec), question, gold, choices=texts, data=data)

    def notes(self, found: Table, spec: TaskSpec) -> list[str]:
        read = [(row, *options(row.text("options"))) for row in found.rows]
        mended = [self.row_id(row, spec) for row, texts, repair in read if repair and len(texts) == 5]
        left = [self.row_id(row, spec) for row, texts, _ in read if len(texts) != 5]
        notes = []
        if mended:
            notes.append(f"{len(mended)} rows have malformed options and were mended: {_some(mended)}")
        if left:
            notes.append(f"{len(left)} rows were left out, their options cannot be read: {_some(left)}")
        return notes


def options(text: str) -> tuple[tuple[str, ...], str]:
    """The five choices of `a ) … , b ) … , c ) …`, and what had to be mended; none where unreadable."""
    inner, mended = text.strip(), list[str]()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
        mended.append("a list in quotes")
    # A label may be written twice: each run of one letter is one label.
    runs = [list(run) for _, run in itertools.groupby(_LABEL.finditer(inner), key=lambda label: label[1])]
    if any(len(run) > 1 for run in runs):
        mended.append("doubled labels")
    repair = " and ".join(mended)
    if "".join(run[0][1] for run in runs) != "abcde":
        return (), repair
    ends = [*(run[0].start() for run in runs[1:]), len(inner)]
    outer = " ,'\"" if "a list in quotes" in mended else " ,"
    texts = [inner[run[-1].end() : end].strip(outer) for run, end in zip(runs, ends, strict=True)]
    return (tuple(texts), repair) if all(texts) else ((), repair)


def _some(ids: list[str]) -> str:
    more = len(ids) - _SHOWN
    return ", ".join(ids[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
