"""The answer format as a contract: what the prompt asks for, what the few-shots show, what the headline rule
reads, and what the model was trained on must be one format.

A model that was trained on `####` and is asked for `\\boxed{}` loses most of its score without an error. What
is compared here needs no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from remote_agent.protocol import TaskSpec
from remote_agent.registry import EXTRACTORS
from remote_agent.tasks.base import AnswerFormat, Sample, Task, method_of
from remote_agent.tasks.grading import family_of

MARKERS = {"hashes": ("####",), "boxed": ("\\boxed",), "tool_call": ("<tool_call>",)}
"""What a prompt says when it asks for a format, by the rule that reads it."""
CHOICES = ("red", "green", "blue", "white")
"""What a letter is tried out with: some rules read one only where there are choices."""
TRIED = 50
"""Training answers that are looked at."""


def breaches(
    task: Task, spec: TaskSpec, samples: Sequence[Sample] = (), trained: Sequence[str] = ()
) -> list[str]:
    """What does not fit together, a sentence each; empty where all fits.

    samples: those of the run, for their few-shots. trained: answers that the model was trained on.
    """
    format = task.answer_format(spec)
    known = EXTRACTORS[format.family]
    unknown = [name for name in format.rules if name not in known]
    if unknown:
        allowed = ", ".join(known)
        return [f"`{unknown[0]}` does not read answers of the kind {format.family}; allowed: {allowed}"]
    if method_of(task, spec) == "score":
        return []
    return [*_asked(format, spec), *_shown(format, samples), *_trained(format, trained)]


def _asked(format: AnswerFormat, spec: TaskSpec) -> Iterator[str]:
    rule = format.rules[0]
    if format.line:
        wanted = [part for part in map(str.strip, format.line.split("{}")) if part]
        missing = next((part for part in wanted if part not in format.instruction), None)
        if missing:
            yield f"the prompt asks for no `{missing}`, which the rule `{rule}` reads"
        yield from _line_misread(format)
    for words, where in ((spec.system, "the system prompt"), (format.instruction, "the prompt")):
        for other, markers in MARKERS.items():
            marker = next((m for m in markers if m in (words or "")), None)
            if marker and other != rule and rule in MARKERS:
                yield f"{where} asks for `{marker}`, and the rule `{rule}` reads `{MARKERS[rule][0]}`"


def _line_misread(format: AnswerFormat) -> Iterator[str]:
    """The line that is asked for, with some answer in it, must be read as that answer."""
    family, headline = family_of(format), format.rules[0]
    shown, choices = family.shown, CHOICES if format.family == "choice" else ()
    sample = Sample("", "", shown, choices=choices)
    line = format.line.replace("{}", shown)
    hits = {name: rule.read(line, sample) for name, rule in family.rules.items()}
    good = [
        name for name, hit in hits.items() if hit and (family.rules[name].right or family.right)(hit, sample)
    ]
    if headline in good:
        return
    hit = hits[headline]
    got = "nothing" if hit is None else repr(hit.text)
    asked = format.line.replace("{}", "N")
    other = next((f"; `{name}` reads it" for name in good if family.rules[name].anchored), "")
    yield f"the prompt asks for `{asked}`, and the rule `{headline}` reads {got} there{other}"


def _shown(format: AnswerFormat, samples: Sequence[Sample]) -> Iterator[str]:
    examples = {e.answer: e for s in samples for e in s.examples} or {e.answer: e for e in format.examples}
    for example in examples.values():
        yield from _misread(format, example.answer, example.gold, example.choices)


def _misread(format: AnswerFormat, text: str, gold: str, choices: tuple[str, ...] = ()) -> Iterator[str]:
    family = family_of(format)
    rule = family.rules[format.rules[0]]
    sample = Sample("", "", gold, choices=choices)
    hit = rule.read(text, sample)
    if hit is None or not (rule.right or family.right)(hit, sample):
        got = "nothing" if hit is None else repr(hit.text)
        shown = text if len(text) <= 80 else f"…{text[-79:]}"
        yield f"the rule `{format.rules[0]}` reads {got} instead of {gold} out of {shown!r}"


def _trained(format: AnswerFormat, trained: Sequence[str]) -> Iterator[str]:
    """Which rule reads most of the training answers, where the headline rule does not."""
    rules = family_of(format).rules
    some = trained[:TRIED]
    counts = {
        name: sum(rule.read(text, Sample("", "", "")) is not None for text in some)
        for name, rule in rules.items()
        if rule.anchored
    }
    headline = format.rules[0]
    if not some or 2 * counts.get(headline, 0) >= len(some):
        return
    best = max(counts, key=counts.__getitem__, default=headline)
    seen = f"; most of them are read by `{best}`" if counts.get(best, 0) > len(some) / 2 else ""
    yield (
        f"the rule `{headline}` reads {counts.get(headline, 0)} of {len(some)} answers that the model was "
        f"trained on{seen}"
    )
