"""The answer filters of lm-evaluation-harness 0.4.13, written from their description, to be compared with.

They read a completion as that harness does, its known mistakes included, and compare texts where our own
rules compare numbers. So a result can be held against a published one, with our own reading beside it.
"""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Callable

from remote_agent.tasks.base import Sample
from remote_agent.tasks.letters import LETTERS
from remote_agent.tasks.reading import Reading, Rule

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_ANSWER_IS = re.compile(r"The answer is (\-?[0-9\.\,]+).")  # the last dot is any character, and is required
_ROUND_LETTER = re.compile(r"(\([A-Z]\))")


def strict(text: str, _sample: Sample) -> Reading | None:
    """gsm8k, strict-match: after the first `#### `."""
    return _number(_STRICT.search(text))


def flexible(text: str, _sample: Sample) -> Reading | None:
    """gsm8k, flexible-extract: the last run of digits, dots, commas and dollar signs."""
    return _number(_last(_FLEXIBLE, text))


def answer_is(text: str, _sample: Sample) -> Reading | None:
    """gsm8k_cot, strict-match: after the first "The answer is "."""
    return _number(_ANSWER_IS.search(text))


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(collections.deque(pattern.finditer(text), maxlen=1)), None)


def _number(match: re.Match[str] | None) -> Reading | None:
    if match is None:
        return None
    group = next(n for n, text in enumerate(match.groups(), 1) if text)
    text = match[group].strip()
    start = match.start(group)
    return Reading(text, (start, start + len(text)), exact_number(text))


def exact_number(text: str) -> str:
    """What that harness compares of a number: without commas, dollar signs, all up to `#### `, and one dot at
    the end."""
    bare = text.replace(",", "").replace("$", "").rpartition("#### ")[2]
    return bare.removesuffix(".").lower()


def multi_choice(text: str, sample: Sample) -> Reading | None:
    """mmlu_flan, flexible-extract: the last `(X)`, else the last choice's text, else the last `: X`."""
    found = _last(_ROUND_LETTER, text)
    if found:
        return Reading(found[0], found.span(), found[0][1])
    texts = {_bare(choice.strip()): letter for letter, choice in zip(LETTERS, sample.choices, strict=False)}
    by_length = sorted((_bare(choice.strip()) for choice in sample.choices), key=len, reverse=True)
    hits = re.findall("|".join(map(re.escape, by_length)), _bare(text)) if by_length else []
    last = hits[-1].strip() if hits else ""
    if last:
        return Reading(last, (0, 0), texts.get(last, last))
    letters = "|".join(LETTERS[: len(sample.choices)])
    named = list(re.finditer(rf":[\s]*({letters})", text)) if letters else []
    return Reading(named[-1][1], named[-1].span(1), named[-1][1]) if named else None


def first_line(text: str, _sample: Sample) -> Reading | None:
    """mmlu_generative: the whole first line must be the letter."""
    line = text.partition("\n")[0]
    return Reading(line.strip(), (0, len(line)), _bare(line.strip()).upper())


def _bare(text: str) -> str:
    """Lower case, without what Unicode counts as punctuation."""
    low = text.lower()
    marks = {ord(c): None for c in set(low) if unicodedata.category(c).startswith("P")}
    return low.translate(marks)


def _number_right(reading: Reading, sample: Sample) -> bool:
    return reading.value == exact_number(sample.gold)


def _letter_right(reading: Reading, sample: Sample) -> bool:
    return reading.value == sample.gold


def _rule(read: Callable[[str, Sample], Reading | None], right: Callable[[Reading, Sample], bool]) -> Rule:
    return Rule(read, right=right, raw=True, votes=False)


NUMBERS = {
    "lm_eval_strict": _rule(strict, _number_right),
    "lm_eval_flexible": _rule(flexible, _number_right),
    "lm_eval_answer_is": _rule(answer_is, _number_right),
}
CHOICES = {
    "lm_eval_multi_choice": _rule(multi_choice, _letter_right),
    "lm_eval_first_line": _rule(first_line, _letter_right),
}
