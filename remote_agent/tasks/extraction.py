"""Rules that read an answer which is a number.

A rule takes a completion and returns what it found with its place in the text, or None. Rules do not know
the right answer. The known failure modes of regex extraction (the last number of "18 dollars a day for 7
days", "1/2" read as 2, a lost unicode minus, `\\boxed{1{,}250}`) are cases of their own in the tests.
"""

from __future__ import annotations

import re
from fractions import Fraction

from remote_agent.tasks import numbers
from remote_agent.tasks.base import Sample
from remote_agent.tasks.reading import Reading
from remote_agent.tasks.spots import boxes, json_values, line_end

TRIES = 50
"""Announcements of an answer that are looked at, from the last one on."""
REACH = 600
"""Characters after an announcement that may belong to the answer."""
ANSWER_KEYS = ("answer", "final_answer", "result", "value")
"""What the field with the answer is called in JSON."""

_DECORATION = r"(?:[\s*_`~$(\[:=]|\\(?=[$(\[]|boxed|text))*+"
_AFTER_HASHES = re.compile(
    rf"####{_DECORATION}(?:(?:the )?(?:final )?answer(?: is)?)?{_DECORATION}"
    r"(?=(?:boxed\{)?[-+]?\s?\\?[$£€¥₹]?-?[\d.½⅓⅔¼¾\\])",
    re.IGNORECASE,
)
_ANSWER_IS = re.compile(
    r"(?<!wrong )(?<!incorrect )\b(?:answer|result)\b\**[ \t]*(?:is|was|equals|would be|=|:)", re.IGNORECASE
)
_ANSWER = re.compile(
    r"(?<!wrong )(?<!incorrect )\banswer\b\**[ \t]*(?:is|was|equals|would be|=|:)", re.IGNORECASE
)
"""A result on the way is no second answer."""
_NOT = re.compile(r"[\s*_]*(?:not|n't|never)\b", re.IGNORECASE)
_NEXT_OPERATION = re.compile(r"[ %]*(?:[A-Za-z]+ ){0,2}[-+*/=x][ $]*[\d(.]")
_ITEM = re.compile(r"[.)] +[A-Za-z]")
_EQUALS = re.compile(r"=[ $]*(?=[-.\d])")


def after_hashes(text: str) -> Reading | None:
    """The number right after the last `####` that is followed by one.

    Headings are none: `#### Step 2`, and `#### 4. Then …` where `#### 3. …` stands before it.
    """
    found = _after(_AFTER_HASHES, text, gap=6)
    if not found:
        return None
    numbered = {reading.value for reading in found if "numbered" in reading.marks}
    plain = [reading for reading in found if "numbered" not in reading.marks]
    if plain:
        return _one_of(plain)
    value = found[0].value
    return None if isinstance(value, Fraction) and value - 1 in numbered else found[0]


def answer_is(text: str) -> Reading | None:
    """The number after the last "answer is", "answer:" or "result is", within the same line."""
    found = _after(_ANSWER_IS, text, gap=40)
    return _one_of(found, _after(_ANSWER, text, gap=40)) if found else None


def _one_of(found: list[Reading], others: list[Reading] | None = None) -> Reading:
    """The first of them, marked where others say something else: which of them was meant is a guess."""
    chosen = found[0]
    if {reading.value for reading in (found if others is None else others)} <= {chosen.value}:
        return chosen
    return Reading(chosen.text, chosen.span, chosen.value, (*chosen.marks, "several answers"))


def boxed(text: str) -> Reading | None:
    """The number in the last closed `\\boxed{…}` that holds one, whatever braces are nested in it."""
    same = numbers.plain(text)
    read = []
    for start, end in boxes(same)[-TRIES:]:
        found = _settled_number(same, start, min(end, start + REACH), gap=end)
        if found:
            read.append(numbers.as_written(text, found))
    if not read:
        return None
    last = read[-1]
    marks = ("two boxes",) if len({r.value for r in read}) > 1 else ()
    return Reading(last.text, last.span, last.value, (*last.marks, *marks))


def json_answer(text: str) -> Reading | None:
    """The number in the `answer` (or `final_answer`, `result`, `value`) of the last JSON object with one."""
    for value, span in reversed(json_values(text)):
        for key in ANSWER_KEYS:
            given = value.get(key) if isinstance(value, dict) else None
            if isinstance(given, bool) or not isinstance(given, str | int | float):
                continue
            worth = numbers.value_of(str(given))
            if worth is not None:
                return Reading(str(given), span, worth)
    return None


def first_number(text: str) -> Reading | None:
    """The first number of the text: of a reply that is nothing but a result."""
    found = numbers.first(numbers.plain(text[: 2 * REACH]))
    return numbers.as_written(text, found) if found else None


def last_number(text: str) -> Reading | None:
    """The last number of the text, wherever it stands."""
    return numbers.last(text)


def _after(announcement: re.Pattern[str], text: str, gap: int) -> list[Reading]:
    """The numbers after the announcements, the last one first. `numbered`: it looks like an item's number."""
    same, read = numbers.plain(text), list[Reading]()
    for match in reversed(list(announcement.finditer(same))[-TRIES:]):
        if _NOT.match(same, match.end()):
            continue
        end = min(line_end(same, match.end()), match.end() + REACH)
        found = _settled_number(same, match.end(), end, gap)
        if found:
            item = ("numbered",) if _ITEM.match(same, found.span[1]) else ()
            shown = numbers.as_written(text, found)
            read.append(Reading(shown.text, shown.span, shown.value, (*shown.marks, *item)))
    return read


def _settled_number(same: str, start: int, end: int, gap: int) -> Reading | None:
    """The first number of a stretch. Of a calculation (`16 - 3 - 4 = 9`) its result, None without one."""
    found = numbers.first(same, start, end)
    if found is None or found.span[0] - start > gap:
        return None
    while _NEXT_OPERATION.match(same, found.span[1], end):
        equals = _EQUALS.search(same, found.span[1], end)
        if equals is None:
            return None
        after = numbers.first(same, equals.end(), end)
        if after is None:
            return None
        found = after
    return found


def is_right(reading: Reading, sample: Sample) -> bool:
    """Equal values. A percentage also equals its hundredth: 50% is 0.5."""
    gold = numbers.value_of(sample.gold)
    if gold is None or not isinstance(reading.value, Fraction):
        return False
    if reading.value == gold:
        return True
    return "percent" in reading.marks and "%" not in sample.gold and reading.value / 100 == gold


def doubts(reading: Reading, sample: Sample) -> tuple[str, ...]:
    """`rounded`: a wrong number that is within half a percent of the right one, so perhaps only rounded."""
    gold, value = numbers.value_of(sample.gold), reading.value
    if gold is None or not isinstance(value, Fraction) or value.denominator == gold.denominator:
        return ()
    return ("rounded",) if abs(value - gold) <= abs(gold) / 200 else ()
