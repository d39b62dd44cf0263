"""What every task has: its samples, its prompt, its answer format and its grading.

A task touches no journal and no engine. Its answer format is stated once, here as `AnswerFormat`; the
prompt's instruction and the extraction rules both come from it, so that they cannot drift apart.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from remote_agent.protocol import TaskSpec
from remote_agent.tasks import extraction

Message = dict[str, str]


class DataError(Exception):
    """A task's data cannot be used; the message names the file, the line and the next step."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One problem. `id` stays the same however many samples are chosen."""

    id: str
    question: str
    gold: str
    category: str = ""


@dataclass(frozen=True, slots=True)
class LoadedTask:
    """The chosen samples, and where they came from."""

    samples: tuple[Sample, ...]
    source: str
    sha256: str

    @property
    def description(self) -> str:
        return f"{self.source} (sha256 {self.sha256})"


@dataclass(frozen=True, slots=True)
class Grade:
    """How one completion was read and judged: the fields of `protocol.Result` with the same names."""

    verdict: Literal["right", "wrong", "no_answer"]
    reason: Literal["parsed", "unparsed", "truncated", "empty"]
    extracted: str | None = None
    rule: str | None = None
    span: tuple[int, int] | None = None
    disagree: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example that is shown before the question, as an earlier turn of the chat."""

    question: str
    answer: str
    gold: str


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The answer format that a prompt asks for, and the rules that read it."""

    instruction: str
    """Appended to each question. Names the marker of `line`."""
    line: str
    """The line that holds the answer, with `{}` in the answer's place."""
    rules: tuple[str, ...]
    """Names of extraction rules: the headline rule first, then the fallbacks in order."""
    examples: tuple[Example, ...] = ()

    @property
    def headline(self) -> str:
        """The order of rules in words."""
        first, *others = self.rules
        return f"{first}, else {', '.join(others)}" if others else first

    def broken(self) -> str | None:
        """How what the prompt asks for differs from what the headline rule reads; None where it does not."""
        marker = self.line.format("").strip()
        if marker not in self.instruction:
            return f"the prompt asks for no `{marker}`, which the rule `{self.rules[0]}` reads"
        for text, gold in [(self.line.format("42"), "42"), *((e.answer, e.gold) for e in self.examples)]:
            found = extraction.RULES[self.rules[0]](text)
            if found is None or found.value != extraction.value_of(gold):
                return f"the rule `{self.rules[0]}` does not read {gold} out of {text!r}"
        return None


class Task(Protocol):
    """A family of problems. Implementations are stateless."""

    name: str
    licence: str
    source: str
    """Where the problems come from: a citation."""
    format: AnswerFormat

    def load(self, spec: TaskSpec) -> LoadedTask:
        """The samples that `spec` chooses, in a fixed order. Raises DataError."""
        ...

    def messages(self, sample: Sample, spec: TaskSpec) -> list[Message]:
        """The chat that asks for an answer."""
        ...

    def grade(self, sample: Sample, completion: str, finish: str) -> Grade:
        """Read and judge a completion that ended with `finish` (`stop` or `length`)."""
        ...


def choose(samples: Sequence[Sample], spec: TaskSpec) -> tuple[Sample, ...]:
    """The subset that `limit` and `seed` choose, in the data's order."""
    if spec.limit is None or spec.limit >= len(samples):
        return tuple(samples)
    kept = sorted(random.Random(spec.seed).sample(range(len(samples)), spec.limit))
    return tuple(samples[i] for i in kept)


def ask(question: str, format: AnswerFormat, spec: TaskSpec) -> list[Message]:
    """The chat for one question: the system prompt if there is one, the examples, and the question."""
    turns = [{"role": "system", "content": spec.system}] if spec.system is not None else []
    for example in format.examples:
        turns.append({"role": "user", "content": f"{example.question}\n\n{format.instruction}"})
        turns.append({"role": "assistant", "content": example.answer})
    return [*turns, {"role": "user", "content": f"{question}\n\n{format.instruction}"}]


def read_rows(data: bytes, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of JSONL data whose rows hold texts `question` and `answer`. Raises DataError."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as exc:
            raise DataError(f"{where}, line {number}: not JSON ({exc}). Mend or delete this line.") from None
        for field in ("question", "answer"):
            if not isinstance(row, dict) or not isinstance(row.get(field), str) or not row[field].strip():
                raise DataError(f"{where}, line {number}: no text in `{field}`. Each row needs one.")
        yield number, row


def gold_number(answer: str, where: str, number: int) -> str:
    """A row's right answer, as written. Raises DataError where it is not one number."""
    gold = answer.strip()
    if extraction.value_of(gold) is None:
        raise DataError(f"{where}, line {number}: the answer {gold!r} is not one number.")
    return gold


def read_file(path: str) -> bytes:
    """The bytes of a data file. Raises DataError."""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}. Sync it, or correct `task.path`.") from None


def loaded(samples: Sequence[Sample], spec: TaskSpec, source: str, data: bytes) -> LoadedTask:
    """The chosen subset with where it came from. Raises DataError for no samples or a doubled id."""
    if not samples:
        raise DataError(f"{source} holds no samples.")
    twice = [i for i, count in Counter(s.id for s in samples).items() if count > 1]
    if twice:
        raise DataError(f"{source}: the id {twice[0]} stands on several rows. Ids must be distinct.")
    return LoadedTask(choose(samples, spec), source, hashlib.sha256(data).hexdigest())


def grade_number(gold: str, completion: str, finish: str, format: AnswerFormat) -> Grade:
    """Grade a completion whose answer is one number.

    Four cases are kept apart: a number was read (right or wrong), none was found, the answer was cut off
    before it was given, and there was no answer at all. All rules read the completion; the first of
    `format.rules` that finds a number decides, and `disagree` says that another one found another number.
    In a cut-off answer only anchored rules count, because its last number is just where the cut fell.
    """
    truncated = finish == "length"
    if not completion.strip():
        return Grade("no_answer", "truncated" if truncated else "empty")
    text = extraction.without_cut_number(completion) if truncated else completion
    found = {name: rule(text) for name, rule in extraction.RULES.items()}
    for name in format.rules:
        hit = found[name]
        if hit is not None and not (truncated and name not in extraction.ANCHORED):
            values = {f.value for other, f in found.items() if f and _counts(other, truncated)}
            verdict: Literal["right", "wrong"] = (
                "right" if hit.value == extraction.value_of(gold) else "wrong"
            )
            return Grade(verdict, "parsed", hit.text, name, hit.span, disagree=len(values) > 1)
    return Grade("no_answer", "truncated" if truncated else "unparsed")


def _counts(rule: str, truncated: bool) -> bool:
    return rule in extraction.ANCHORED or not truncated
