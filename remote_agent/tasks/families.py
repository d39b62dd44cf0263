"""The families of answers: which rules read them, and how they are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from remote_agent.tasks import call_rules, calls, extraction, letters, numbers, peers, texts
from remote_agent.tasks.base import Sample
from remote_agent.tasks.reading import Family, Reading, Rule


def _any_sample(read: Callable[[str], Reading | None]) -> Callable[[str, Sample], Reading | None]:
    """A rule that needs only the text."""
    return lambda text, _sample: read(text)


NUMBER = Family(
    rules={
        "hashes": Rule(_any_sample(extraction.after_hashes), anchored=True),
        "boxed": Rule(_any_sample(extraction.boxed), anchored=True),
        "json": Rule(_any_sample(extraction.json_answer), anchored=True),
        "answer_is": Rule(_any_sample(extraction.answer_is), anchored=True),
        "first_number": Rule(_any_sample(extraction.first_number), votes=False),
        "last_number": Rule(_any_sample(extraction.last_number), guess=True),
    }
    | peers.NUMBERS,
    right=extraction.is_right,
    shown="42",
    doubts=extraction.doubts,
    settled=numbers.without_cut_number,
)


CHOICE = Family(
    rules={
        "answer_is": Rule(letters.answer_is, anchored=True),
        "boxed": Rule(letters.boxed, anchored=True),
        "hashes": Rule(letters.hashes, anchored=True),
        "json": Rule(letters.json_letter, anchored=True),
        "only_letter": Rule(letters.only_letter),
        "choice_text": Rule(letters.choice_text),
        "last_letter": Rule(letters.last_letter, guess=True),
    }
    | peers.CHOICES,
    right=lambda reading, sample: reading.value == sample.gold,
    shown="B",
    settled=letters.without_cut_word,
)


TEXT = Family(
    rules={
        "whole": Rule(texts.whole, votes=False),
        "first_line": Rule(texts.first_line, votes=False),
        "last_line": Rule(texts.last_line, votes=False),
        "hashes": Rule(texts.hashes),
        "boxed": Rule(texts.boxed, anchored=True),
        "answer_is": Rule(texts.answer_is),
        "json": Rule(texts.json_answer, anchored=True),
    },
    right=texts.is_right,
    shown="Lake Geneva",
    doubts=texts.doubts,
    metrics=texts.metrics,
)

CONTAINS = dataclasses.replace(TEXT, right=texts.is_contained, doubts=lambda *_: ())
"""As TEXT, and right where a right text stands anywhere in what was read."""

CALL = Family(
    rules={
        "tool_call": Rule(calls.tool_call, anchored=True),
        "json": Rule(calls.json_calls),
        "python": Rule(calls.python_calls),
        "no_call": Rule(calls.no_call),
    },
    right=call_rules.is_right,
    shown='[{"name": "add", "arguments": {"a": 1}}]',
    metrics=call_rules.metrics,
    settled=calls.without_cut_call,
)
