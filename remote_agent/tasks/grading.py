"""From a completion, or from log-likelihoods, to a grade. No model is needed: a stored result is enough.

Every rule of the family reads every completion. The first of the format's rules that finds something decides;
where another one found something else, the result says so.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from remote_agent.protocol import ChoiceScore, TaskSpec
from remote_agent.registry import EXTRACTORS, METRICS, TASKS, load
from remote_agent.tasks.base import AnswerFormat, DataError, Grade, Sample, Task
from remote_agent.tasks.reading import Family, Rule

LETTERS = string.ascii_uppercase
"""The choices' names."""
SHOWN, KEPT = 200, 2000
"""Characters that are kept of what each rule read, and of what decided. The completion is kept whole."""
TIE = 1e-3
"""Log-likelihoods that are closer than this are not told apart: batches alone move them by 1e-4."""


def family_of(format: AnswerFormat) -> Family:
    """The family that a format's answers belong to."""
    family: Family = load(METRICS[format.family])
    return family


def grade(sample: Sample, completion: str, finish: str, format: AnswerFormat, spec: TaskSpec) -> Grade:
    """Read and judge a completion.

    Four cases are kept apart: an answer was read (right or wrong), none was found, the text was cut off
    before one was given, and there was no text at all. In a cut-off text only rules that look where the
    answer is announced count, because its last number or letter is just where the cut fell.
    """
    family = family_of(format)
    cut = finish == "length"
    text, marks = without_thinking(completion, spec.thinking)
    text = family.settled(text) if cut else text
    found = {name: rule.read(completion if rule.raw else text, sample) for name, rule in family.rules.items()}
    readings = {name: None if hit is None else hit.text[:SHOWN] for name, hit in found.items()}
    for name in format.rules:
        hit, rule = found[name], family.rules[name]
        if hit is None or (cut and not rule.anchored and not rule.raw):
            continue
        right = (rule.right or family.right)(hit, sample)
        guessed = ("guessed",) if rule.guess and name != format.rules[0] else ()
        values = {h.value for n, h in found.items() if h and _counts(family.rules[n], cut)}
        return Grade(
            "right" if right else "wrong", "parsed", hit.text[:KEPT], name, hit.span,
            disagree=len(values | {hit.value}) > 1,
            readings=readings,
            marks=(*marks, *guessed, *hit.marks, *family.doubts(hit, sample)),
            metrics=family.metrics(text, hit, sample),
        )  # fmt: skip
    reason: Literal["truncated", "empty", "unparsed"] = "truncated" if cut else "unparsed"
    if not cut and not text.strip():
        reason = "empty"
    return Grade(
        "no_answer", reason, readings=readings, marks=marks, metrics=family.metrics(text, None, sample)
    )


def _counts(rule: Rule, cut: bool) -> bool:
    return rule.votes and (rule.anchored or not cut)


def without_thinking(completion: str, marks: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The completion with its chain of thought blanked out, so that places stay what they are; and a mark.

    A chat template may have opened the thought already, so an end without a beginning ends one, too. One
    that is not closed runs to the end.
    """
    if len(marks) != 2:
        return completion, ()
    opening, closing = marks
    parts: list[str] = []
    at, said = 0, tuple[str, ...]()
    first = completion.find(closing)
    opened = completion.find(opening)
    if first >= 0 and not 0 <= opened < first:
        parts.append(" " * (first + len(closing)))
        at, said = first + len(closing), ("thinking cut out",)
    while (start := completion.find(opening, at)) >= 0:
        end = completion.find(closing, start)
        parts.append(completion[at:start])
        if end < 0:
            parts.append(" " * (len(completion) - start))
            return "".join(parts), ("thinking not closed",)
        at = end + len(closing)
        parts.append(" " * (at - start))
        said = ("thinking cut out",)
    return "".join([*parts, completion[at:]]), said


def judge(sample: Sample, scores: Sequence[ChoiceScore], format: AnswerFormat) -> Grade:
    """The likeliest choice, by each way to weigh long ones against short ones.

    acc: the sum of the log-probabilities; acc_norm: that by the choice's characters; acc_bytes: by its bytes
    in UTF-8; acc_tokens: by its tokens. The first of the format's rules gives the verdict.
    """
    if format.family == "continuation":
        return _continuation(scores[0])
    weighed = {
        "acc": [1.0 for _ in scores],
        "acc_norm": [float(s.chars) for s in scores],
        "acc_bytes": [float(s.bytes) for s in scores],
        "acc_tokens": [float(s.tokens) for s in scores],
    }
    readings: dict[str, str | None] = {}
    metrics, close = {}, {}
    for name, lengths in weighed.items():
        by = [max(length, 1.0) for length in lengths]
        values = [s.logprob / length for s, length in zip(scores, by, strict=True)]
        best = max(range(len(values)), key=values.__getitem__)
        readings[name] = LETTERS[best]
        metrics[name] = float(LETTERS[best] == sample.gold)
        close[name] = any(i != best and values[best] - value < TIE / by[i] for i, value in enumerate(values))
    headline = format.rules[0]
    return Grade(
        "right" if metrics[headline] else "wrong", "parsed", readings[headline], headline,
        readings=readings, metrics=metrics, marks=("tie",) if close[headline] else (),
    )  # fmt: skip


def _continuation(score: ChoiceScore) -> Grade:
    """The log-likelihood of one given text: nats in all, a token and a byte. Right where greedy writes it.

    The numbers of tokens and bytes stand beside them: perplexity is taken over a whole file.
    """
    metrics = {
        "nll": -score.logprob,
        "nll_token": -score.logprob / max(score.tokens, 1),
        "nll_byte": -score.logprob / max(score.bytes, 1),
        "greedy": float(score.greedy),
        "tokens": float(score.tokens),
        "bytes": float(score.bytes),
    }
    verdict: Literal["right", "wrong"] = "right" if score.greedy else "wrong"
    said = "yes" if score.greedy else "no"
    return Grade(verdict, "parsed", said, "greedy", readings={"greedy": said}, metrics=metrics)


def regrade(result: Mapping[str, Any], spec: TaskSpec) -> Grade:
    """The grade of a stored `result` record under `spec`, from the record alone.

    `spec` may name other extractors than the run had. Raises DataError where it does not fit the task.
    """
    task: Task = load(TASKS[spec.name])()
    known = EXTRACTORS[task.answer_format(spec).family]
    unknown = [name for name in task.answer_format(spec).rules if name not in known]
    if unknown:
        raise DataError(f"the task {spec.name} has no rule `{unknown[0]}`; allowed: {', '.join(known)}")
    sample = Sample(
        id=result["sample"],
        question="",
        gold=result["gold"],
        category=result.get("category", ""),
        choices=tuple(result.get("choices", ())),
        data=result.get("data", {}),
    )
    if result.get("method", "generate") == "score":
        scores = [ChoiceScore.model_validate(score) for score in result.get("scores", ())]
        return task.judge(sample, scores, spec)
    return task.grade(sample, result["completion"], result["finish"], spec)
