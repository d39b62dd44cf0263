"""Rules that read an answer which is a text, and how two texts are compared.

Compared is what is left after case, punctuation, English articles and runs of blanks are taken out, as in
Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", arXiv:1606.05250.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from remote_agent.tasks.base import Sample
from remote_agent.tasks.reading import Reading
from remote_agent.tasks.spots import boxes, json_values, line_end

LONG = 2000
"""Characters; a longer answer is read, and never shown whole."""

TRIES = 20
"""Announcements of an answer that are looked at, from the last one on."""
MAX_COMPARED = 20_000
"""Characters; a text beyond that is compared by its beginning, which no right answer equals."""

_ANNOUNCED = re.compile(r"\b(?:answer|result)\b[*_`]*[ \t]*(?:\bis\b[ \t]*:?|\bwas\b|:|=)", re.IGNORECASE)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_DECORATION = " \t\r\n*_`\"'$"


def normal(text: str) -> str:
    """What is compared of a text."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    marks = {ord(c): " " for c in set(plain) if unicodedata.category(c).startswith("P")}
    return " ".join(_ARTICLES.sub(" ", plain.translate(marks)).split())


def golds(sample: Sample) -> list[str]:
    """All texts that are right."""
    others = sample.data.get("answers", ())
    return [sample.gold, *(str(other) for other in others)]


def is_right(reading: Reading, sample: Sample) -> bool:
    return str(reading.value) in map(normal, golds(sample))


def is_contained(reading: Reading, sample: Sample) -> bool:
    """Whether a right text stands in what was read, as whole words."""
    padded = f" {reading.value} "
    return any(f" {gold} " in padded for gold in map(normal, golds(sample)) if gold)


def doubts(reading: Reading, sample: Sample) -> tuple[str, ...]:
    """`holds the right text`: wrong as a whole, so perhaps right in too many words."""
    return (
        ("holds the right text",) if is_contained(reading, sample) and not is_right(reading, sample) else ()
    )


def metrics(_text: str, reading: Reading | None, sample: Sample) -> dict[str, float]:
    """`exact`, `contains` (a right text stands in what was read), `f1` of the words (SQuAD's)."""
    if reading is None:
        return {"exact": 0.0, "contains": 0.0, "f1": 0.0}
    given, right = str(reading.value), [normal(gold) for gold in golds(sample)]
    return {
        "exact": float(given in right),
        "contains": float(is_contained(reading, sample)),
        "f1": max(_f1(given.split(), gold.split()) for gold in right),
    }


def _f1(given: list[str], gold: list[str]) -> float:
    if not given or not gold:
        return float(given == gold)
    shared = sum((Counter(given) & Counter(gold)).values())
    return 2 * shared / (len(given) + len(gold))


def whole(text: str, _sample: Sample) -> Reading | None:
    """All of the reply."""
    return _reading(text, 0, len(text))


def first_line(text: str, _sample: Sample) -> Reading | None:
    """The first line that holds something."""
    start = len(text) - len(text.lstrip())
    return _reading(text, start, line_end(text, start))


def last_line(text: str, _sample: Sample) -> Reading | None:
    """The last line that holds something."""
    end = len(text.rstrip())
    return _reading(text, text.rfind("\n", 0, end) + 1, end)


def hashes(text: str, _sample: Sample) -> Reading | None:
    """What follows the last `####` that has something after it, up to the end of the line."""
    return _last(text, (match.end() for match in re.finditer("####", text)))


def answer_is(text: str, _sample: Sample) -> Reading | None:
    """What follows the last "answer is" or "Answer:", up to the end of the line."""
    return _last(text, (match.end() for match in _ANNOUNCED.finditer(text)))


def boxed(text: str, _sample: Sample) -> Reading | None:
    """What the last closed `\\boxed{…}` holds."""
    read = [found for span in boxes(text)[-TRIES:] if (found := _reading(text, *span))]
    if not read:
        return None
    last = read[-1]
    marks = ("two boxes",) if len({r.value for r in read}) > 1 else ()
    return Reading(last.text, last.span, last.value, marks)


def json_answer(text: str, _sample: Sample) -> Reading | None:
    """The `answer` of the last JSON object that has one."""
    for value, span in reversed(json_values(text)):
        given = value.get("answer") if isinstance(value, dict) else None
        if isinstance(given, str | int | float) and not isinstance(given, bool) and str(given).strip():
            return Reading(str(given)[:LONG], span, normal(str(given)))
    return None


def _last(text: str, starts: Iterable[int]) -> Reading | None:
    for start in reversed(list(starts)[-TRIES:]):
        found = _reading(text, start, line_end(text, start))
        if found:
            return found
    return None


def _reading(text: str, start: int, end: int) -> Reading | None:
    part = text[start:end]
    inner = part.strip(_DECORATION)
    value = normal(inner[:MAX_COMPARED])
    if not value:
        return None
    at = start + part.find(inner[:1]) if inner else start
    return Reading(inner[:LONG], (at, at + len(inner)), value)
