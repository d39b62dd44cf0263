"""The language that results are filtered by: `wrong cat:rates tok>400 "per hour" !skip`. Here it is read;
what it means for rows is `result_query`'s.

A filter is words, all of which must hold; `!` before one turns it round. A word is a state (`right`, `wrong`,
`no-answer`, …), a field with a comparison (`cat:rates`, `tok>400`), or text that the prompt, the completion
or the sample's name contains, in quotes where it has spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

STATES = ("right", "wrong", "no-answer", "truncated", "empty", "unparsed", "disagree", "failed", "marked")
"""What a result may be, by its verdict, its reason and its marks."""
FLIPS = ("flipped", "lost", "gained", "same", "alone")
"""Against another run: right in one of them only; right there only; right here only; right in both or in
neither; not in the other run."""
TEXT_FIELDS = {
    "cat": "category", "category": "category", "rule": "rule", "reason": "reason", "mark": "marks",
    "finish": "finish", "sample": "sample", "got": "extracted", "extracted": "extracted",
    "expected": "gold", "gold": "gold", "text": "text",
}  # fmt: skip
NUMBER_FIELDS = {
    "tok": "tokens_out", "tokens": "tokens_out", "out": "tokens_out", "in": "tokens_in",
    "cand": "candidate", "candidate": "candidate", "row": "row",
}  # fmt: skip

Op = Literal[":", "=", "<", ">", "<=", ">="]
_FIELD = re.compile(r"([A-Za-z_][\w.-]*)(<=|>=|[:=<>])")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


class FilterError(ValueError):
    """What is wrong, and at which character (from 0) of the filter."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a filter."""

    what: Literal["state", "flip", "words", "number", "metric"]
    name: str
    """The state, or the column."""
    op: Op = ":"
    text: str = ""
    number: float = 0.0
    negated: bool = False


def parse(text: str, metrics: Iterable[str] = (), paired: bool = False) -> list[Term]:
    """The words of a filter. Raises FilterError.

    metrics: figures of the run that can be compared; paired: another run stands beside it.
    """
    terms = []
    for word in _words(text):
        term = _term(word, metrics)
        if term.what == "flip" and not paired:
            raise FilterError(f"'{term.name}' takes another run beside this one: d chooses it", word.at)
        terms.append(term)
    return terms


@dataclass(frozen=True, slots=True)
class _Word:
    at: int
    negated: bool
    field: str
    op: str
    value: str
    quoted: bool
    value_at: int


def _words(text: str) -> list[_Word]:
    words, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        start, negated = at, text[at] == "!"
        at += negated
        field, op = "", ""
        if found := _FIELD.match(text, at):
            field, op = found[1], found[2]
            at = found.end()
        value_at = at
        value, at, quoted = _value(text, at)
        if not value and not quoted:
            what = f"after {field}{op}" if field else "after !"
            raise FilterError(f"{what} something is missing", value_at)
        words.append(_Word(start, negated, field, op, value, quoted, value_at))
    return words


def _value(text: str, at: int) -> tuple[str, int, bool]:
    """The value that begins there, where it ends, and whether it was in quotes."""
    if at < len(text) and text[at] == '"':
        end = text.find('"', at + 1)
        if end < 0:
            raise FilterError("the quote is not closed", at)
        if end == at + 1:
            raise FilterError("there is nothing between the quotes", at)
        if end + 1 < len(text) and not text[end + 1].isspace():
            raise FilterError("a space is missing after the quote", end + 1)
        return text[at + 1 : end], end + 1, True
    end = at
    while end < len(text) and not text[end].isspace():
        end += 1
    return text[at:end], end, False


def _term(word: _Word, metrics: Iterable[str]) -> Term:
    if not word.field:
        if not word.quoted and word.value in (*STATES, *FLIPS):
            return Term("state" if word.value in STATES else "flip", word.value, negated=word.negated)
        return Term("words", "text", text=word.value, negated=word.negated)
    name = word.field.lower()
    if name in TEXT_FIELDS:
        if word.op not in (":", "="):
            raise FilterError(f"{word.field} is text: {word.field}:… contains, {word.field}=… is", word.at)
        return Term("words", TEXT_FIELDS[name], _op(word.op), word.value, negated=word.negated)
    if name in NUMBER_FIELDS:
        return Term("number", NUMBER_FIELDS[name], _op(word.op), word.value, _number(word), word.negated)
    if word.field in metrics:
        return Term("metric", word.field, _op(word.op), word.value, _number(word), word.negated)
    known = ", ".join(("cat", "rule", "reason", "mark", "finish", "sample", "got", "expected", "text",
                       "tok", "in", "cand", "row", *metrics))  # fmt: skip
    raise FilterError(f"there is no field '{word.field}'; fields: {known}", word.at + word.negated)


def _number(word: _Word) -> float:
    if not _NUMBER.fullmatch(word.value):
        raise FilterError(f"{word.field} is a number, and '{word.value}' is none", word.value_at)
    return float(word.value)


def _op(op: str) -> Op:
    assert op in (":", "=", "<", ">", "<=", ">=")
    return op  # type: ignore[return-value]
