"""From an item of the plan to its result: what the engine is asked, and how the task judges what comes back.

Answers are generated, or given ones are scored, or a chain of thought is generated first and the given
answers are scored after it. Neither the order of computing nor the journal is decided here.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from remote_agent.engines.base import (
    Answer,
    Completion,
    Engine,
    EngineError,
    Prompt,
    Score,
    ScoreRequest,
)
from remote_agent.plan import Item, Pair, Plan, answer_seed
from remote_agent.protocol import ChoiceScore, EngineSpec, Order, Result, TaskSpec
from remote_agent.tasks.base import Grade, Sample, Task, method_of, result_fields, template_of

MILLION = 1_000_000


class Method(Protocol):
    """How items become results."""

    streams: bool
    """Whether an item is one request, so that it can be fed to an engine."""

    def compute(self, items: Sequence[Item]) -> list[Result]:
        """The results of a batch, in order."""
        ...

    def request(self, item: Item) -> Prompt | ScoreRequest: ...

    def result(self, item: Item, answer: Answer, seconds: float) -> Result: ...


def method_for(
    task: Task,
    spec: TaskSpec,
    engine: Engine,
    prompts: Mapping[Pair, Prompt],
    lengths: Mapping[Pair, int],
    prices: EngineSpec,
) -> Method:
    """The way that a task and its spec ask for. Raises EngineError where the engine cannot go it.

    lengths: tokens of each prompt.
    """
    sheet = Sheet(task, spec, prices)
    if method_of(task, spec) == "generate":
        return Generating(sheet, engine, prompts)
    if not engine.can_score:
        raise EngineError(
            f"the task {task.name} scores given answers, which this engine cannot. Next: take the engine "
            "`transformers` or `vllm`, or set `task.method: generate` if the task has it. vLLM cannot with "
            "adapters."
        )
    if not engine.renders and template_of(task, spec) == "chat":
        raise EngineError(
            "given answers cannot be scored after a chat that the server renders. "
            "Next: set `task.template: none`."
        )
    way = Scoring if spec.thought is None else ThinkingFirst
    return way(sheet, engine, prompts, lengths)


@dataclasses.dataclass(frozen=True, slots=True)
class Sheet:
    """The fields of a result that do not hang on the method."""

    task: Task
    spec: TaskSpec
    prices: EngineSpec

    def result(
        self, item: Item, grade: Grade, prompt: Prompt, answer: Completion, seconds: float, **more: Any
    ) -> Result:
        fields = result_fields(item.sample, grade)
        # What an endpoint takes for scoring is not known: it does not count those tokens apart.
        cost = None if more.get("method") == "score" else self._cost(answer)
        if cost is not None:
            fields["metrics"] = {**fields["metrics"], "cost": cost}
        return Result(
            **fields,
            task=self.task.name,
            candidate=item.candidate,
            completion=answer.text,
            prompt_sha=prompt.sha,
            prompt=prompt.text if self.spec.keep_prompts else None,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            finish=answer.finish,
            logprob=answer.logprob,
            seconds=seconds,
            **more,
        )

    def _cost(self, answer: Completion) -> float | None:
        """Dollars that an endpoint takes for this answer; None where no price is known."""
        into, out = self.prices.price_in, self.prices.price_out
        if into is None and out is None:
            return None
        return round(((into or 0) * answer.tokens_in + (out or 0) * answer.tokens_out) / MILLION, 9)


class Generating:
    """The engine writes an answer, the task reads it."""

    streams = True

    def __init__(self, sheet: Sheet, engine: Engine, prompts: Mapping[Pair, Prompt]) -> None:
        self._sheet = sheet
        self._engine = engine
        self._prompts = prompts

    def compute(self, items: Sequence[Item]) -> list[Result]:
        started = time.monotonic()
        answers = self._engine.generate([self._prompts[item.key] for item in items])
        seconds = _since(started)
        return [self.result(*pair, seconds) for pair in zip(items, answers, strict=True)]

    def request(self, item: Item) -> Prompt:
        return self._prompts[item.key]

    def result(self, item: Item, answer: Answer, seconds: float) -> Result:
        assert isinstance(answer, Completion)
        sheet = self._sheet
        grade = sheet.task.grade(item.sample, answer.text, answer.finish, sheet.spec)
        return sheet.result(item, grade, self._prompts[item.key], answer, seconds)


class Scoring:
    """The engine says how likely each given answer is after the prompt, the task judges by that."""

    streams = True

    def __init__(
        self,
        sheet: Sheet,
        engine: Engine,
        prompts: Mapping[Pair, Prompt],
        lengths: Mapping[Pair, int],
    ) -> None:
        self._sheet = sheet
        self._engine = engine
        self._prompts = prompts
        self._lengths = lengths

    def compute(self, items: Sequence[Item]) -> list[Result]:
        started = time.monotonic()
        found = self._engine.score([self.request(item) for item in items])
        seconds = _since(started)
        return [self.result(*pair, seconds) for pair in zip(items, found, strict=True)]

    def request(self, item: Item) -> ScoreRequest:
        return self._after(item.sample, self._prompts[item.key].text)

    def result(self, item: Item, answer: Answer, seconds: float) -> Result:
        assert isinstance(answer, list)
        known = self._lengths[item.key] if self._engine.renders else 0  # else it is a guess
        nothing = Completion("", known, 0, "stop")
        return self._judged(item, answer, nothing, seconds)

    def _after(self, sample: Sample, context: str) -> ScoreRequest:
        return ScoreRequest(sample.id, context, self._sheet.task.continuations(sample, self._sheet.spec))

    def _judged(self, item: Item, scores: Sequence[Score], written: Completion, seconds: float) -> Result:
        sheet = self._sheet
        spelled = sheet.task.spelled(item.sample, sheet.spec)
        choices = [_choice(*pair) for pair in zip(spelled, scores, strict=True)]
        grade = sheet.task.judge(item.sample, choices, sheet.spec)
        prompt = self._prompts[item.key]
        return sheet.result(item, grade, prompt, written, seconds, method="score", scores=choices)


class ThinkingFirst(Scoring):
    """A chain of thought is written after the prompt; the given answers are scored after both."""

    streams = False

    def compute(self, items: Sequence[Item]) -> list[Result]:
        started = time.monotonic()
        thoughts = self._engine.generate([self._prompts[item.key] for item in items])
        rows = list(zip(items, thoughts, strict=True))
        found = self._engine.score([self._after(item.sample, self._context(item, t)) for item, t in rows])
        seconds = _since(started)
        return [
            self._judged(item, scores, thought, seconds)
            for (item, thought), scores in zip(rows, found, strict=True)
        ]

    def _context(self, item: Item, thought: Completion) -> str:
        context = self._sheet.task.context(item.sample, self._sheet.spec, thought.text)
        return rendered(self._engine, context)


def rendered(engine: Engine, context: str | Sequence[dict[str, str]]) -> str:
    """The exact text of a prompt: plain text as a document, a chat through the model's template."""
    return engine.document(context) if isinstance(context, str) else engine.render(context)


Context = tuple[str, tuple[dict[str, str], ...]]
"""A prompt's exact text, and the chat that it was rendered from; no turns for plain text."""


def contexts_of(task: Task, spec: TaskSpec, engine: Engine, plan: Plan) -> dict[str, Context]:
    """Each sample's context, rendered once. Raises whatever a chat template raises."""
    found: dict[str, Context] = {}
    for item in plan.items:
        if item.sample.id not in found:
            context = task.context(item.sample, spec)
            turns = () if isinstance(context, str) else tuple(context)
            found[item.sample.id] = rendered(engine, context), turns
    return found


def prompts_of(
    task: Task, order: Order, engine: Engine, plan: Plan, contexts: Mapping[str, Context]
) -> tuple[dict[Pair, Prompt], list[int]]:
    """Each item's prompt, and its length in tokens in the plan's order."""
    texts = [text for text, _ in contexts.values()]
    counts = dict(zip(contexts, engine.count_tokens(texts), strict=True))
    stops = task.stops(order.task)
    prompts: dict[Pair, Prompt] = {}
    for item in plan.items:
        text, turns = contexts[item.sample.id]
        seed = answer_seed(order.generate.seed, item)
        prompts[item.key] = Prompt(text, seed, item.sample.id, item.candidate, stops, turns)
    return prompts, [counts[item.sample.id] for item in plan.items]


def _choice(text: str, score: Score) -> ChoiceScore:
    return ChoiceScore(
        logprob=score.logprob,
        tokens=score.tokens,
        chars=len(text),
        bytes=len(text.encode("utf-8", "surrogatepass")),
        greedy=score.greedy,
    )


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
