"""Numbers in a text: where they stand, and what they are worth exactly.

Read are commas, blanks and LaTeX between thousands, currency signs, fractions, mixed numbers, percent signs,
powers of ten, a unicode minus, full-width digits, and words such as "thousand". What is read with a doubt is
marked.
"""

from __future__ import annotations

import collections
import re
import unicodedata
from fractions import Fraction

from remote_agent.tasks.reading import Reading

MAX_DIGITS = 60
"""A longer run of digits is a model repeating itself, not an answer."""
TRIES = 50
"""Matches from the end on that are tried: not every one is a number (1/0, or a run of digits without end)."""
TAIL = 4000
"""Characters at the end of a text that are searched for its last number before all of it is."""

# Variants of one character that mean the same; one to one, so that places in the text stay what they are.
_SAME = {0x2212: "-", 0x2010: "-", 0x2011: "-", 0x2013: "-", 0xFE63: "-", 0xFF0D: "-", 0x2044: "/"}
_SAME |= {0x2215: "/", 0x00A0: " ", 0x202F: " ", 0x2009: " ", 0x00D7: "*", 0x00F7: "/", 0xFF0C: ","}
_SAME |= {0xFF10 + d: str(d) for d in range(10)}

_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SCALES = {"k": 10**3, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
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
          | (?P<decimal>\d+,\d{{1,2}})(?![\d,]|\.\d)
          | \d+(?:\.\d+)?
          | \.\d+
        )
        (?:[eE](?P<power>[-+]?\d{{1,2}})(?![\d.]))?
    )
    (?:(?P<scale>[kK]|\ (?:hundred|thousand|million|billion))(?![A-Za-z]))?
    """,
    re.VERBOSE,
)
_GOES_ON = re.compile(r" ?\^|\.\d| dozens?\b")
_UNDER_A_ROOT = re.compile(r"(?:√|\\sqrt) ?[{(]?$")
_DIGITS_RUN = re.compile(r"\d+")


def plain(text: str) -> str:
    """The text with variants of one character made one; as long as before."""
    return text.translate(_SAME)


def _is_operator(text: str, sign_at: int) -> bool:
    """Whether the sign there joins two operands, as in `16 - 3` or `10-12`, and is not a number's own."""
    before = text[:sign_at].rstrip(" ")
    return before[-1:].isalnum() or before[-1:] in (")", "%", "}")


def _read(match: re.Match[str]) -> Reading | None:
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
    return Reading(match.string[start : match.end()], (start, match.end()), value, _marks(match))


def _value(m: re.Match[str]) -> Fraction | None:
    if len(m[0]) > 4 * MAX_DIGITS or any(len(run) > MAX_DIGITS for run in _DIGITS_RUN.findall(m[0])):
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
    digits = m["digits"].replace(",", ".") if m["decimal"] else re.sub(r"[, {}\\]", "", m["digits"])
    value = Fraction(digits)
    return value * Fraction(10) ** int(m["power"]) if m["power"] else value


def _marks(match: re.Match[str]) -> tuple[str, ...]:
    """What is uncertain: `18,5` may be a decimal, `7,13,19` is more than one number, 50% may be a half, and
    `2^10`, a root, `5 dozen` and `1.234.567` are worth something else."""
    if _GOES_ON.match(match.string, match.end()) or _UNDER_A_ROOT.search(match.string[: match.start()][-8:]):
        return ("part of more",)
    if match["decimal"]:
        return ("decimal comma",)
    after = match.string[match.end() : match.end() + 8]
    if after[:1] == "," and after[1:2].isdigit():
        return ("list of numbers",)
    return ("percent",) if after.startswith(("%", "\\%", " %", " percent")) else ()


def numbers(text: str) -> list[Reading]:
    """All numbers of a text, left to right. Percent signs, currencies and units are not part of them."""
    found = (_read(match) for match in _NUMBER.finditer(plain(text)))
    return [as_written(text, f) for f in found if f]


def first(text: str, start: int = 0, end: int | None = None) -> Reading | None:
    """The first number between two places of a text that `plain` has gone over already."""
    for match in _NUMBER.finditer(text, start, len(text) if end is None else end):
        found = _read(match)
        if found:
            return found
    return None


def last(text: str) -> Reading | None:
    """The last number of a text."""
    same = plain(text)
    for start in (max(0, len(same) - TAIL), 0):
        ends = collections.deque(_NUMBER.finditer(same, start), maxlen=TRIES)
        found = next((found for match in reversed(ends) if (found := _read(match))), None)
        # A number at the very beginning of the stretch may have begun before it.
        if found and (start == 0 or found.span[0] > start + 200):
            return as_written(text, found)
    return None


def value_of(text: str) -> Fraction | None:
    """The value of a text that is one number (18, $18.00, 1,250, -3, 1/2, 50%), else None."""
    stripped = text.strip().rstrip(".%").rstrip()
    found = numbers(stripped)
    if len(found) != 1 or found[0].span != (0, len(stripped)):
        return None
    value = found[0].value
    return value if isinstance(value, Fraction) else None


def as_written(text: str, found: Reading) -> Reading:
    start, end = found.span
    return Reading(text[start:end], found.span, found.value, found.marks)


def without_cut_number(text: str) -> str:
    """A cut-off text without the number that the cut may have shortened: `#### 12` may have been 125."""
    same = plain(text)
    tail = len(same.rstrip("0123456789.,/"))
    cut = next((at for at in range(tail, len(same)) if same[at].isdigit()), len(same))
    return text[:cut]
