"""What every task has: its samples, its prompt, its answer format and its grading.

A task touches no journal and no engine, and keeps no state: what a spec decides comes in with the spec. Its
answer format is stated once, as an `AnswerFormat`; the prompt's instruction, the few-shots and the extraction
rules come from it. How rows are read is in `data.py`, how answers are read and judged in `grading.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from remote_agent.protocol import ChoiceScore, TaskSpec

Message = dict[str, str]
Method = Literal["generate", "score"]
Template = Literal["chat", "none"]


class DataError(Exception):
    """A task's data cannot be used; the message names the file, the line and the next step."""


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example that is shown before the question. `answer` is what an assistant would write."""

    question: str
    answer: str
    gold: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One problem. `id` stays the same however many samples are chosen."""

    id: str
    question: str
    gold: str
    """The right answer; of a choice, its letter."""
    category: str = ""
    choices: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    """What prompt or grading need beyond that; JSON values. It is recorded with each result."""
    examples: tuple[Example, ...] = ()
    """The few-shots that are shown before this question."""


@dataclass(frozen=True, slots=True)
class LoadedTask:
    """The chosen samples, where they came from, and what about the data a user should know."""

    samples: tuple[Sample, ...]
    source: str
    sha256: str
    notes: tuple[str, ...] = ()

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
    readings: Mapping[str, str | None] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The answer format that a prompt asks for, and the rules that read it."""

    instruction: str
    """Appended to each question. Names the marker of `line`."""
    line: str
    """The line that holds the answer, with `{}` in the answer's place. Empty: nothing is asked for."""
    rules: tuple[str, ...]
    """Names of extraction rules: the headline rule first, then the fallbacks in order."""
    examples: tuple[Example, ...] = ()
    """Few-shots that ship with the task."""
    family: str = "number"
    """How answers are compared: a key of `registry.METRICS`, or `score` for log-likelihoods."""

    @property
    def headline(self) -> str:
        """The order of rules in words."""
        first, *others = self.rules
        return f"{first}, else {', '.join(others)}" if others else first


class Task:
    """A family of problems: what all have. A task sets the attributes and says how a row is a sample."""

    name: ClassVar[str]
    dataset: ClassVar[str]
    """The data set's name, and where it can be had."""
    licence: ClassVar[str]
    source: ClassVar[str]
    """Where the problems come from: a citation."""
    metric: ClassVar[str]
    """What is counted, and whose definition that is."""
    methods: ClassVar[tuple[Method, ...]] = ("generate",)
    """The ways in which it can be evaluated, the usual one first."""
    styles: ClassVar[tuple[str, ...]] = ("default",)
    """The ways in which it can ask, for `task.style`."""

    def asks_for(self, spec: TaskSpec) -> AnswerFormat:
        """The answer format of a method and style, with the task's own rules."""
        raise NotImplementedError

    def answer_format(self, spec: TaskSpec) -> AnswerFormat:
        """What the prompt asks for and which rules read it, as `spec` has it."""
        own = self.asks_for(spec)
        return dataclasses.replace(own, rules=tuple(spec.extractors)) if spec.extractors else own

    def load(self, spec: TaskSpec) -> LoadedTask:
        """The samples that `spec` chooses, in a fixed order. Raises DataError."""
        raise NotImplementedError

    def grade(self, sample: Sample, completion: str, finish: str, spec: TaskSpec) -> Grade:
        """Read and judge a completion that ended with `finish` (`stop` or `length`)."""
        raise NotImplementedError

    def judge(self, sample: Sample, scores: Sequence[ChoiceScore], spec: TaskSpec) -> Grade:
        """Judge the log-likelihoods of `spelled(sample, spec)`, one each."""
        raise NotImplementedError

    def style(self, spec: TaskSpec) -> str:
        """The way to ask that `spec` chooses."""
        return self.styles[0] if spec.style == "default" else spec.style

    # --- the prompt ---

    def ask(self, question: str, choices: Sequence[str], spec: TaskSpec) -> str:
        """The text of one question, in a few-shot as in the prompt itself."""
        instruction = self.answer_format(spec).instruction
        return f"{question}\n\n{instruction}" if instruction else question

    def delimiter(self, spec: TaskSpec) -> str:
        """What stands in plain text between a question and its answer."""
        return " " if method_of(self, spec) == "score" else "\n"

    def stops(self, spec: TaskSpec) -> tuple[str, ...]:
        """Texts that end an answer; they do not belong to it."""
        return tuple(spec.stop)

    def spelled(self, sample: Sample, spec: TaskSpec) -> tuple[str, ...]:
        """For scoring: the given answers as they are scored, without the delimiter."""
        return sample.choices

    def continuations(self, sample: Sample, spec: TaskSpec) -> tuple[str, ...]:
        """For scoring: the exact texts that may follow `context`, one a choice."""
        between = "" if template_of(self, spec) == "chat" else self.delimiter(spec)
        return tuple(between + text for text in self.spelled(sample, spec))

    def context(self, sample: Sample, spec: TaskSpec, thought: str | None = None) -> str | list[Message]:
        """What is sent: the turns of a chat, or the exact text where no chat template is used.

        With `spec.thought` the prompt asks for a chain of thought; given as `thought`, it stands before the
        question, which is then asked once more.
        """
        if template_of(self, spec) == "chat":
            return self._chat(sample, spec, thought)
        return self._plain(sample, spec, thought)

    def messages(self, sample: Sample, spec: TaskSpec) -> list[Message]:
        """The chat that asks for an answer."""
        return self._chat(sample, spec, None)

    def _chat(self, sample: Sample, spec: TaskSpec, thought: str | None) -> list[Message]:
        turns = [_turn("system", spec.system)] if spec.system is not None else []
        for example in sample.examples:
            turns.append(_turn("user", self.ask(example.question, example.choices, spec)))
            turns.append(_turn("assistant", example.answer))
        question = self.ask(sample.question, sample.choices, spec)
        if spec.thought is None:
            return [*turns, _turn("user", question)]
        turns.append(_turn("user", f"{question}\n\n{spec.thought}"))
        if thought is None:
            return turns
        return [*turns, _turn("assistant", thought), _turn("user", question)]

    def _plain(self, sample: Sample, spec: TaskSpec, thought: str | None) -> str:
        between = self.delimiter(spec)
        parts = [spec.system] if spec.system is not None else []
        parts += [self.ask(e.question, e.choices, spec) + between + e.answer for e in sample.examples]
        question = self.ask(sample.question, sample.choices, spec)
        parts.append(question)
        if spec.thought is not None:
            parts.append(f"{spec.thought}\n{'' if thought is None else thought.strip()}")
        if thought is not None:
            parts.append(question)
        # What is scored brings its delimiter; a generated answer on the same line brings its own blank.
        generated = method_of(self, spec) == "generate"
        return "\n\n".join(parts) + (between if generated and between == "\n" else "")


def method_of(task: Task, spec: TaskSpec) -> Method:
    """Whether answers are generated or scored. Raises DataError where the task cannot do it."""
    method = task.methods[0] if spec.method == "auto" else spec.method
    if method not in task.methods:
        raise DataError(f"the task {task.name} has no method `{method}`; allowed: {', '.join(task.methods)}")
    return method


def template_of(task: Task, spec: TaskSpec) -> Template:
    """Whether the prompt goes through the model's chat template."""
    if spec.template == "auto":
        return "chat" if method_of(task, spec) == "generate" else "none"
    return spec.template


def result_fields(sample: Sample, grade: Grade) -> dict[str, Any]:
    """The fields of `protocol.Result` that the sample and its grade give."""
    fields = {name: getattr(grade, name) for name in Grade.__slots__}
    return {
        **fields,
        "readings": dict(grade.readings),
        "marks": list(grade.marks),
        "metrics": dict(grade.metrics),
        "sample": sample.id,
        "category": sample.category,
        "gold": sample.gold,
        "choices": list(sample.choices),
        "data": dict(sample.data),
    }


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}
