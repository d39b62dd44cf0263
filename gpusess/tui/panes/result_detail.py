"""One result in full, as lines: verdict, prompt, completion with what was read of it marked, what every rule
read, and the same sample in other runs. Pure; all text of a model is made harmless here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpusess.analysis.text import clean
from gpusess.tui import fmt
from gpusess.tui.spans import Line, width
from gpusess.tui.widgets.text_view import wrap

TEXT_LIMIT = 20_000
"""Characters of one text that are shown; of a longer one its beginning and its end."""
AROUND = 2_000
"""Characters shown on both sides of what was read, where that lies beyond the limit."""

GLYPHS = {"right": ("✓", "ok"), "wrong": ("✗", "err"), "no_answer": ("○", "warn"), "failed": ("▲", "err")}
NAMES = {"no_answer": "no answer"}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The same sample in another run."""

    label: str
    verdict: str
    got: str | None
    note: str = ""
    """Shown in the place of a verdict: why there is none."""


def verdict_line(verdict: str) -> Line:
    """A glyph and a word, so that no meaning hangs on colour."""
    glyph, ink = GLYPHS.get(verdict, ("·", "dim"))
    return [(f"{glyph} {NAMES.get(verdict, verdict)}", ink)]


def detail_lines(
    record: Mapping[str, Any], headline: str, others: Sequence[Elsewhere] | None, cells: int
) -> list[Line]:
    """headline: the rule that decides. others: None while they are being read; without any, nothing is said
    of them."""
    if record["kind"] == "failed":
        lines = [
            verdict_line("failed"),
            [],
            *_titled("Error", [(_plain(str(record["error"])), "err")], cells),
        ]
    else:
        lines = [*_verdict(record, cells), *_prompt(record, cells), *_completion(record, cells)]
        lines += [*_choices(record, cells), *_readings(record, headline, cells)]
    return [*lines, *_elsewhere(others, cells)]


def _verdict(r: Mapping[str, Any], cells: int) -> list[Line]:
    got = clean(str(r["extracted"]), 400) if r["extracted"] is not None else f"nothing ({r['reason']})"
    rule = f"  by {clean(str(r['rule']), 60)}" if r["rule"] else ""
    first: list[Line] = [
        verdict_line(r["verdict"]),
        [("expected ", "dim"), (clean(r["gold"], 400), "bold")],
        [("got ", "dim"), (got, "bold"), (rule, "dim")],
    ]
    if r.get("disagree"):
        first.append([("? another rule reads otherwise", "warn")])
    finish = {"length": "cut off by the token limit"}.get(r["finish"], r["finish"])
    facts = [
        clean(r["category"], 60),
        f"{r['tokens_out']:,} tokens out, {r['tokens_in']:,} in",
        str(finish),
        f"{r['seconds']:.1f} s",
        *(clean(mark, 60) for mark in r.get("marks") or () if mark != "disagree"),
        *(f"{clean(name, 30)} {value:.4g}" for name, value in (r.get("metrics") or {}).items()),
    ]
    second: list[Line] = [[(fact, "dim")] for fact in facts if fact]
    return [*_packed(first, "   ", cells), *_packed(second, " · ", cells), []]


def _packed(parts: Sequence[Line], separator: str, cells: int) -> list[Line]:
    """The parts next to each other, as many on a line as fit; one that fits on none is wrapped."""
    lines: list[Line] = []
    for part in parts:
        beside = [*lines[-1], (separator, "faint"), *part] if lines else part
        if not lines or width(beside) > cells:
            lines.append(part)
        else:
            lines[-1] = beside
    return [row for line in lines for row in wrap(line, cells)]


def _prompt(r: Mapping[str, Any], cells: int) -> list[Line]:
    prompt = r.get("prompt")
    if prompt is None:
        return _titled("Prompt", [("not recorded: `task.keep_prompts: true` keeps it", "dim")], cells)
    return _titled("Prompt", [(_plain(prompt), "")], cells)


def _completion(r: Mapping[str, Any], cells: int) -> list[Line]:
    completion = r["completion"]
    if not completion:
        said = "none: given answers were scored" if r.get("method") == "score" else "empty"
        return _titled("Completion", [(said, "dim")], cells)
    return _titled("Completion", marked(completion, r.get("span")), cells)


def marked(text: str, span: Sequence[int] | None) -> list[tuple[str, str]]:
    """The text with the characters of `span` marked; a long one is cut, but never what was read."""
    if not span or not 0 <= span[0] < span[1] <= len(text):
        return [(_plain(text), "")]
    before, read, after = text[: span[0]], text[span[0] : span[1]], text[span[1] :]
    if len(before) > TEXT_LIMIT:
        before = _shortened(before, TEXT_LIMIT - AROUND, AROUND)
    return [
        (_harmless(before), ""),
        (_harmless(_shortened(read, AROUND, AROUND)), "on-match bold"),
        (_harmless(_shortened(after, TEXT_LIMIT // 2, AROUND)), ""),
    ]


def _plain(text: str) -> str:
    return _harmless(_shortened(text, TEXT_LIMIT - AROUND, AROUND))


def _shortened(text: str, head: int, tail: int) -> str:
    if len(text) <= head + tail:
        return text
    return f"{text[:head]}\n… {len(text) - head - tail:,} characters …\n{text[-tail:]}"


def _harmless(text: str) -> str:
    """Newlines stay; everything else that could move a cursor goes."""
    return "\n".join(clean(line, TEXT_LIMIT * 2) for line in text.split("\n"))


def _choices(r: Mapping[str, Any], cells: int) -> list[Line]:
    choices = r.get("choices") or []
    if not choices:
        return []
    scores = r.get("scores") or []
    lines: list[Line] = []
    for i, choice in enumerate(choices):
        letter = chr(ord("A") + i) if i < 26 else str(i + 1)
        score = f"{scores[i]['logprob']:>9.2f}  " if i < len(scores) else ""
        chosen = r["extracted"] in (letter, choice)
        ink = "ok" if r["gold"] in (letter, choice) else "err" if chosen else ""
        said = [("▌" if chosen else " ", "data"), (f"{letter}  {score}{clean(choice, 300)}", ink)]
        lines += wrap(said, cells)
    return [_heading("Choices"), *lines, []]


def _readings(r: Mapping[str, Any], headline: str, cells: int) -> list[Line]:
    readings = r.get("readings") or {}
    if not readings:
        return []
    wide = min(24, max(len(clean(rule, 24)) for rule in readings))
    lines: list[Line] = []
    for rule, read in readings.items():
        same = read is not None and read == r["extracted"]
        said = fmt.NONE if read is None else clean(str(read), 200)
        ink = "dim" if read is None else "" if same else "warn"
        line: Line = [(f"{clean(rule, 24):<{wide}}  ", "dim"), (said, ink)]
        if rule == r["rule"]:
            first = rule == headline or not headline
            line.append(("  decides" if first else f"  decides: {clean(headline, 40)} found nothing", "data"))
        elif read is not None and not same:
            line.append(("  otherwise", "warn"))
        lines += wrap(line, cells)
    return [_heading("Every rule's reading"), *lines, []]


def _elsewhere(others: Sequence[Elsewhere] | None, cells: int) -> list[Line]:
    if others is None:
        return [_heading("Other runs"), [("reading…", "dim")]]
    if not others:
        return []
    wide = min(32, max(len(other.label) for other in others))
    lines: list[Line] = []
    for other in others:
        said: Line = [(other.note, "dim")] if other.note else [*verdict_line(other.verdict)]
        got = [("  got ", "dim"), (clean(other.got, 100), "")] if other.got is not None else []
        lines += wrap([(f"{clean(other.label, 32):<{wide}}  ", ""), *said, *got], cells)
    return [_heading("Other runs"), *lines]


def _titled(title: str, spans: list[tuple[str, str]], cells: int) -> list[Line]:
    return [_heading(title), *wrap(spans, cells), []]


def _heading(title: str) -> Line:
    return [(title, "info bold")]
