"""Reading the answer out of a completion: rules by name, and numbers compared as numbers.

A rule takes a completion and returns what it found with its place in the text, or None. Rules do not know
the right answer. The known failure modes of regex extraction (the last number of "18 dollars a day for 7
days", "1/2" read as 2, a lost unicode minus, `\\boxed{1{,}250}`) are cases of their own in the tests.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 60
"""A longer run of digits is a model repeating itself, not an answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """A number in a text: as written, its place (characters, end exclusive) and its exact value."""

    text: str
    span: tuple[int, int]
    value: Fraction


# --- numbers -------------------------------------------------------------------------------------------

# Variants of one character that mean the same; one to one, so that places in the text stay what they are.
_SAME = {0x2212: "-", 0x2010: "-", 0x2011: "-", 0x2013: "-", 0xFE63: "-", 0xFF0D: "-", 0x2044: "/"}
_SAME |= {0x2215: "/", 0x00A0: " ", 0x202F: " ", 0x2009: " ", 0x00D7: "*", 0x00F7: "/", 0xFF0C: ","}
_SAME |= {0xFF10 + d: str(d) for d in range(10)}

_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SCALES = {"k": 10**3, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_COMMA = r"(?:,|\{,\}|\\,)"

_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z0-9_])(?<!\d[.,])                    # not inside a word or another number
    (?P<sign>[-+]\ ?)?
    (?:\\?[$£€¥₹]\ ?)?
    (?P<sign2>-)?
    (?:
        \\[dt]?frac\{{(?P<ftop>-?\d+)\}}\{{(?P<fbottom>\d+)\}}
      | (?P<mixed>\d+)\ (?P<mtop>\d+)/(?P<mbottom>\d+)(?![\d/])
      | (?P<top>\d+)\ ?/\ ?(?P<bottom>\d+)(?![\d/]|\.\d)
      | (?P<whole>\d+)?(?P<vulgar>[{_VULGAR}])
      | (?P<digits>
            \d{{1,3}}(?:{_COMMA}\d{{3}})+(?!\d)(?:\.\d+)?
          | [1-9]\d{{0,2}}(?:\ \d{{3}})+(?!\d)(?:\.\d+)?
          | \d+(?:\.\d+)?
          | \.\d+
        )
        (?:[eE](?P<power>[-+]?\d{{1,2}})(?![\d.]))?
    )
    (?:(?P<scale>[kK]|\ (?:thousand|million|billion))(?![A-Za-z]))?
    """,
    re.VERBOSE,
)
_DIGITS_RUN = re.compile(r"\d+")


def _plain(text: str) -> str:
    return text.translate(_SAME)


def _is_operator(text: str, sign_at: int) -> bool:
    """Whether the sign there joins two operands, as in `16 - 3` or `10-12`, and is not a number's own."""
    before = text[:sign_at].rstrip(" ")
    return before[-1:].isalnum() or before[-1:] in (")", "%", "}")


def _read(match: re.Match[str]) -> Found | None:
    value = _value(match)
    if value is None:
        return None
    start = match.start()
    if match["sign"] and _is_operator(match.string, start):
        start = match.end("sign")
    elif (match["sign"] or "").startswith("-"):
        value = -value
    if match["sign2"]:
        value = -value
    return Found(match.string[start : match.end()], (start, match.end()), value)


def _value(m: re.Match[str]) -> Fraction | None:
    if any(len(run) > MAX_DIGITS for run in _DIGITS_RUN.findall(m[0])):
        return None
    try:
        value = _magnitude(m)
    except ZeroDivisionError:
        return None
    return value * _SCALES[m["scale"].strip().lower()] if m["scale"] else value


def _magnitude(m: re.Match[str]) -> Fraction:
    if m["fbottom"]:
        return Fraction(int(m["ftop"]), int(m["fbottom"]))
    if m["mixed"]:
        return int(m["mixed"]) + Fraction(int(m["mtop"]), int(m["mbottom"]))
    if m["bottom"]:
        return Fraction(int(m["top"]), int(m["bottom"]))
    if m["vulgar"]:
        return int(m["whole"] or 0) + Fraction(unicodedata.numeric(m["vulgar"])).limit_denominator(10)
    digits = re.sub(r"[, {}\\]", "", m["digits"])
    return Fraction(digits) * Fraction(10) ** int(m["power"] or 0)


def numbers(text: str) -> list[Found]:
    """All numbers of a text, left to right. Percent signs, currencies and units are not part of them."""
    found = (_read(match) for match in _NUMBER.finditer(_plain(text)))
    return [_as_written(text, f) for f in found if f]


def value_of(text: str) -> Fraction | None:
    """The value of a text that is one number (18, $18.00, 1,250, -3, 1/2, 50%), else None."""
    stripped = text.strip().rstrip(".%").rstrip()
    found = numbers(stripped)
    return found[0].value if len(found) == 1 and found[0].span == (0, len(stripped)) else None


def _as_written(text: str, found: Found) -> Found:
    start, end = found.span
    return Found(text[start:end], found.span, found.value)


def without_cut_number(text: str) -> str:
    """A cut-off text without the number that the cut may have shortened: `#### 12` may have been 125."""
    return re.sub(r"\d[\d.,/]*$", "", _plain(text))


# --- rules ---------------------------------------------------------------------------------------------

_DECORATION = r"[\s*_`~$\\(\[:=]*"
_AFTER_HASHES = re.compile(
    rf"####{_DECORATION}(?:(?:the )?(?:final )?answer(?: is)?)?{_DECORATION}"
    r"(?=(?P<boxed>boxed\{)?[-+]?\s?\\?[$£€¥₹]?-?[\d.½⅓⅔¼¾\\])",
    re.IGNORECASE,
)
_ANSWER_IS = re.compile(r"\b(?:answer|result)\b\**[ \t]*(?:is|was|equals|would be|=|:)", re.IGNORECASE)
_NEXT_OPERATION = re.compile(r"[ %]*(?:[A-Za-z]+ ){0,2}[-+*/=x][ $]*[\d(.]")
_EQUALS = re.compile(r"=[ $]*(?=[-.\d])")


def after_hashes(text: str) -> Found | None:
    """The number right after the last `####` that is followed by one (a heading `#### Step 2` is none)."""
    plain = _plain(text)
    for match in reversed(list(_AFTER_HASHES.finditer(plain))):
        found = _settled_number(plain, match.end(), _line_end(plain, match.end()), gap=6)
        if found:
            return _as_written(text, found)
    return None


def boxed(text: str) -> Found | None:
    """The number in the last closed `\\boxed{…}`, whatever braces are nested in it."""
    plain = _plain(text)
    for match in reversed(list(re.finditer(r"\\boxed\s*\{", plain))):
        end = _closing_brace(plain, match.end())
        found = _settled_number(plain, match.end(), end, gap=end) if end is not None else None
        if found:
            return _as_written(text, found)
    return None


def answer_is(text: str) -> Found | None:
    """The number after the last "answer is", "answer:" or "result is", within the same line."""
    plain = _plain(text)
    for match in reversed(list(_ANSWER_IS.finditer(plain))):
        found = _settled_number(plain, match.end(), _line_end(plain, match.end()), gap=40)
        if found:
            return _as_written(text, found)
    return None


def last_number(text: str) -> Found | None:
    """The last number of the text, wherever it stands."""
    found = numbers(text)
    return found[-1] if found else None


def _settled_number(plain: str, start: int, end: int, gap: int) -> Found | None:
    """The first number of a stretch. Of a calculation (`16 - 3 - 4 = 9`) its result, None without one."""
    found = _first_number(plain, start, end)
    if found is None or found.span[0] - start > gap:
        return None
    while _NEXT_OPERATION.match(plain, found.span[1], end):
        equals = _EQUALS.search(plain, found.span[1], end)
        if equals is None:
            return None
        after = _first_number(plain, equals.end(), end)
        if after is None:
            return None
        found = after
    return found


def _first_number(plain: str, start: int, end: int) -> Found | None:
    for match in _NUMBER.finditer(plain, start, end):
        found = _read(match)
        if found:
            return found
    return None


def _line_end(plain: str, start: int) -> int:
    end = plain.find("\n", start)
    return len(plain) if end < 0 else end


def _closing_brace(plain: str, start: int) -> int | None:
    depth = 1
    for at in range(start, len(plain)):
        depth += {"{": 1, "}": -1}.get(plain[at], 0)
        if depth == 0:
            return at
    return None


RULES: dict[str, Callable[[str], Found | None]] = {
    "hashes": after_hashes,
    "boxed": boxed,
    "answer_is": answer_is,
    "last_number": last_number,
}
ANCHORED = frozenset({"hashes", "boxed", "answer_is"})
"""Rules that look where the answer is announced: they hold in a cut-off text as well."""
