"""Rules that read the letter of a choice.

The traps are known: the article "a" and the pronoun "I" are no choices, "Antwort: B" is not the letter A, the
last letter of a text is not what it says its answer is, and a reply may name the choice's text instead.
"""

from __future__ import annotations

import re

from remote_agent.tasks.base import Sample
from remote_agent.tasks.reading import Reading
from remote_agent.tasks.spots import boxes, json_values, line_end

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FAR = 60
"""Characters between an announcement and a choice's text."""
TRIES = 50
"""Announcements of an answer that are looked at, from the last one on."""
REACH = 400
"""Characters after an announcement that may belong to the answer."""

_ANNOUNCED = re.compile(
    r"\b(?:answer|choice|option|antwort|réponse|respuesta|resposta|risposta)\b[*_`\"']*[ \t]*"
    r"(?::|=|\b(?:is|was|would be|must be|should be|ist|est|es|é|è)\b"
    r"(?:[ \t]+(?:therefore|thus|clearly|then))?[ \t]*:?)",
    re.IGNORECASE,
)
_OTHER = re.compile(r"\b(?:wrong|incorrect|false|worst|other)[\s*_]+$", re.IGNORECASE)
_COUNTED = re.compile(
    r"\b(?:first|second|third|fourth|fifth|last|next|[1-9](?:st|nd|rd|th)|another|each|every|one)[\s*_]+$",
    re.IGNORECASE,
)
"""Words before an announcement that make it none: "the wrong answer is", "the second option is"."""
_OPENING = r"[\s*_`\"'$:(\[]|\\text\{|\\mathbf\{|\\boxed\{"
_LEAD = re.compile(
    rf"(?:{_OPENING}){{0,12}}(?:(?:option|choice|letter|answer|the)\b(?:{_OPENING}){{0,6}}){{0,3}}", re.I
)
_LETTER = re.compile(r"(?P<letter>[A-Za-z])(?![\w'’])")
_NOT = re.compile(r"[\s*_]*(?:not|n't|never|nicht|neither)\b", re.IGNORECASE)
_WORD_AFTER = re.compile(r"[ \t]+([a-z][\w'’-]*)")
_CONNECTIVES = {
    *("because", "since", "as", "is", "and", "or", "which", "so", "due", "for", "but", "if", "by", "with"),
    *("based", "followed"),
}
"""Words that follow a choice, and hardly ever an article or the pronoun."""
_SECOND = re.compile(r"[\s*_`)\].]*(?:and|or|,|/|&|und|oder)[\s*_`(\[]*(?P<letter>[A-Z])(?![\w'’])")
_MARKED = re.compile(
    r"(?<![\w'’])(?:\((?P<round>[A-Z])\)|\[(?P<square>[A-Z])\]|\*\*\(?(?P<bold>[A-Z])[).]?\*\*"
    r"|(?P<dotted>[A-Z])[).:](?![\w.])|(?:[Oo]ption|[Cc]hoice|[Ll]etter)[ \t]+(?P<named>[A-Z]))(?![\w'’])"
)
_ALONE = re.compile(r"(?<![\w'’-])(?P<letter>[A-Z])(?![\w'’-])")
_ITEM = re.compile(r"[ \t]{0,8}[-*]?[ \t]{0,3}\(?(?P<letter>[A-Z])[).:][ \t]")
_ONLY = re.compile(
    r"[\s*_`\"'$(\[]*(?:\\text\{|\\boxed\{)?(?P<letter>[A-Za-z])(?P<rest>[\s*_`\"'$)\].:,}]*)(?P<more>[^\n]*)"
)


def answer_is(text: str, sample: Sample) -> Reading | None:
    """The letter after the last "answer is", "Answer:" and the like, on the same line or the next."""
    read = [found for match in _announcements(text) if (found := _announced(text, match, sample))]
    if not read:
        return None
    return _with_marks(read[-1], ("several letters",) if len({r.value for r in read}) > 1 else ())


def _announced(text: str, match: re.Match[str], sample: Sample) -> Reading | None:
    """The letter that follows an announcement."""
    if _NOT.match(text, match.end()):
        return None
    end = min(line_end(text, match.end()), match.end() + REACH)
    if not text[match.end() : end].strip(" *_`\"'$:"):  # the answer stands below
        end = min(line_end(text, end + 1), end + REACH)
    lead = _LEAD.match(text, match.end(), end)
    return _letter(text, lead.end() if lead else match.end(), end, sample)


def _announcements(text: str) -> list[re.Match[str]]:
    """Where an answer is announced. Who counts the options up, or names a wrong one, announces none."""
    return [match for match in list(_ANNOUNCED.finditer(text))[-TRIES:] if not _names_a_part(text, match)]


def _names_a_part(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 20) : match.start()]
    option = match[0][:6].lower() in ("option", "choice")
    return bool(_OTHER.search(before) or (option and _COUNTED.search(before)))


def boxed(text: str, sample: Sample) -> Reading | None:
    """The letter in the last closed `\\boxed{…}` that holds one."""
    read = [found for start, end in boxes(text)[-TRIES:] if (found := _only(text, start, end, sample))]
    if not read:
        return None
    return _with_marks(read[-1], ("two boxes",) if len({r.value for r in read}) > 1 else ())


def json_letter(text: str, sample: Sample) -> Reading | None:
    """The letter in the `answer` (or `choice`, `letter`, `option`) of the last JSON object that has one."""
    for value, (start, end) in reversed(json_values(text)):
        for key in ("answer", "choice", "letter", "option", "final_answer"):
            given = value.get(key) if isinstance(value, dict) else None
            found = _only(given, 0, len(given), sample) if isinstance(given, str) else None
            if found:
                return Reading(found.text, (start, end), found.value, found.marks)
    return None


def hashes(text: str, sample: Sample) -> Reading | None:
    """The letter after the last `####`."""
    for match in reversed(list(re.finditer("####", text))[-TRIES:]):
        found = _only(text, match.end(), min(line_end(text, match.end()), match.end() + REACH), sample)
        if found:
            return found
    return None


def only_letter(text: str, sample: Sample) -> Reading | None:
    """The letter where the reply is one, or begins with one as in `B) Paris` or `**B.** Paris`."""
    own = without_lists(text)
    start = len(own) - len(own.lstrip())
    return _only(own, start, line_end(own, start), sample)


def choice_text(text: str, sample: Sample) -> Reading | None:
    """The choice whose text follows the last announcement, or is the whole reply."""
    ends = [match.end() for match in _announcements(text)]
    spans = [(end, min(line_end(text, end), end + REACH)) for end in ends]
    for start, end in [*reversed(spans), (0, len(text))]:
        part = text[start : min(end, start + 10 * REACH)]
        whole = (start, end) == (0, len(text))
        found = _text_at(part, sample, whole=whole)
        if found:
            letter, (a, b) = found
            return Reading(text[start + a : start + b], (start + a, start + b), letter)
    return None


def last_letter(text: str, sample: Sample) -> Reading | None:
    """The last letter that is set apart as a choice is, else the last that stands alone and is no word."""
    text = without_lists(text)
    marked = [m for m in _MARKED.finditer(text) if _of(m, sample)]
    if marked:
        last = marked[-1]
        letter = _of(last, sample) or ""
        several = len({_of(m, sample) for m in marked}) > 1
        return Reading(last[0], last.span(), letter, ("several letters",) if several else ())
    alone = [m for m in _ALONE.finditer(text) if _is_choice(m["letter"], sample) and not _is_word(text, m)]
    if not alone:
        return None
    several = len({m["letter"] for m in alone}) > 1
    last = alone[-1]
    return Reading(last[0], last.span(), last[0], ("several letters",) if several else ())


def _letter(text: str, start: int, end: int, sample: Sample) -> Reading | None:
    match = _LETTER.match(text, start, end)
    if match is None or not _is_choice(match["letter"].upper(), sample):
        return None
    if _is_word(text, match) or (match["letter"].islower() and _WORD_AFTER.match(text, match.end(), end)):
        return None
    letter = match["letter"].upper()
    several = ("several letters",) if _names_another(text, match, end, sample) else ()
    marks = several + _contradiction(text[match.end() : end], letter, sample)
    return Reading(match[0], match.span(), letter, marks)


def _only(text: str, start: int, end: int, sample: Sample) -> Reading | None:
    """The letter of a stretch that holds a letter, and at most the choice's text after a sign."""
    match = _ONLY.match(text, start, end)
    if match is None or not _is_choice(match["letter"].upper(), sample):
        return None
    more = match["more"].strip()
    signed = any(c in match["rest"] for c in ").:,]*}") or "(" in match[0][: match.start("letter") - start]
    if more and not (signed and match["letter"].isupper()):
        return None
    if more and match["letter"] in "AI" and match["rest"].strip(" ") == "":
        return None
    letter = match["letter"].upper()
    marks = _contradiction(match["more"], letter, sample)
    return Reading(match["letter"], match.span("letter"), letter, marks)


def _contradiction(after: str, letter: str, sample: Sample) -> tuple[str, ...]:
    """A mark where the letter is followed by the text of another choice."""
    said = after.strip(" .):]*_`\"'}$").lower()
    named = [
        other
        for other, choice in zip(LETTERS, sample.choices, strict=False)
        if said and choice.strip().rstrip(".").lower() == said
    ]
    return ("letter and text differ",) if named and letter not in named else ()


def _is_choice(letter: str, sample: Sample) -> bool:
    return letter in LETTERS[: len(sample.choices) or 4]


def _is_word(text: str, match: re.Match[str]) -> bool:
    """Whether a letter is the article or the pronoun: `A cat`, `I think`, and not `A because …`."""
    if match["letter"] not in ("A", "a", "I", "i"):
        return False
    after = _WORD_AFTER.match(text, match.end())
    return after is not None and after[1].lower() not in _CONNECTIVES


def _names_another(text: str, match: re.Match[str], end: int, sample: Sample) -> bool:
    other = _SECOND.match(text, match.end(), end)
    return other is not None and _is_choice(other["letter"], sample)


def _of(match: re.Match[str], sample: Sample) -> str | None:
    letter = next((group for group in match.groupdict().values() if group), None)
    return letter if letter and _is_choice(letter, sample) else None


def _text_at(part: str, sample: Sample, *, whole: bool) -> tuple[str, tuple[int, int]] | None:
    """The longest choice whose text stands near the beginning of `part`, or is all of it."""
    low = part.lower()
    best: tuple[str, tuple[int, int]] | None = None
    for letter, choice in zip(LETTERS, sample.choices, strict=False):
        wanted = choice.strip().rstrip(".").lower()
        if not wanted:
            continue
        at = _find_word(low, wanted)
        if at < 0 or at > FAR or (whole and low.strip(" \n.*\"'`") != wanted):
            continue
        if best is None or len(wanted) > best[1][1] - best[1][0]:
            best = letter, (at, at + len(wanted))
    return best


def _find_word(text: str, wanted: str) -> int:
    """Where `wanted` stands with no letter or digit against its ends; -1 where it does not."""
    at = text.find(wanted)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(wanted) : at + len(wanted) + 1]
        if not (before.isalnum() and wanted[0].isalnum()) and not (after.isalnum() and wanted[-1].isalnum()):
            return at
        at = text.find(wanted, at + 1)
    return -1


def _with_marks(reading: Reading, marks: tuple[str, ...]) -> Reading:
    more = tuple(mark for mark in marks if mark not in reading.marks)
    return Reading(reading.text, reading.span, reading.value, (*reading.marks, *more))


def without_lists(text: str) -> str:
    """The text with lists of choices blanked out: who repeats the choices has not chosen the last of them."""
    kept, run = list[str](), list[str]()
    for line in text.split("\n"):
        label = _ITEM.match(line)
        follows = label and (not run or ord(label["letter"]) == ord(_label(run[-1])) + 1)
        if not follows:
            kept += [" " * len(item) for item in run] if len(run) > 1 else run
            run = []
        (run if label else kept).append(line)
    kept += [" " * len(item) for item in run] if len(run) > 1 else run
    return "\n".join(kept)


def _label(line: str) -> str:
    label = _ITEM.match(line)
    return label["letter"] if label else ""


def without_cut_word(text: str) -> str:
    """A cut-off text without its last word: `Answer: A` may have become `Answer: Algebra`."""
    end = len(text)
    while end and text[end - 1].isalnum():
        end -= 1
    return text[:end]
