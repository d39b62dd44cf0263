"""From an item to its result: the three methods over an engine of words, and what is refused before any work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from remote_agent import worker
from remote_agent.answering import method_for, rendered
from remote_agent.engines.base import (
    BatchEngine,
    Completion,
    Description,
    EngineError,
    Prompt,
    Score,
    ScoreRequest,
    transcript,
)
from remote_agent.engines.recorded import RecordedEngine
from remote_agent.plan import Item
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec
from remote_agent.registry import TASKS, load

from .conftest import Run

ROW = {
    "query": "What do bees make?",
    "choices": ["honey", "a very long list of other things", "ash"],
    "gold": 0,
}


class WordEngine(BatchEngine):
    """Finds the shorter answer the likelier one, and thinks in three words."""

    can_score = True
    tokenizer = context_window = embedding_rows = weight_bytes = free_bytes = None

    def __init__(self, order: Order | None = None) -> None:
        self.asked: list[Any] = []

    def prepare(self) -> None: ...

    def load(self) -> None: ...

    def describe(self) -> Description:
        return Description("words", "none", "none")

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        return transcript(messages)

    def document(self, text: str) -> str:
        return f"<s>{text}"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def expect(self, texts: Sequence[str]) -> None: ...

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        self.asked += prompts
        return [Completion("bees and flowers", 7, 3, "stop", -1.5) for _ in prompts]

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[Score]]:
        self.asked += requests
        return [[Score(-float(len(t)), len(t.split()), False) for t in r.continuations] for r in requests]


def spec(tmp_path: Path, **more: Any) -> TaskSpec:
    path = tmp_path / "arc.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return TaskSpec(name="arc_easy", path=str(path), **more)


def computed(asked: TaskSpec, engine: WordEngine, prices: EngineSpec | None = None) -> Any:
    task = load(TASKS[asked.name])()
    (sample,) = task.load(asked).samples
    context = task.context(sample, asked)
    turns = () if isinstance(context, str) else tuple(context)
    item = Item(sample, 0)
    prompts = {item.key: Prompt(rendered(engine, context), 5, sample.id, 0, (), turns)}
    method = method_for(task, asked, engine, prompts, {item.key: 9}, prices or EngineSpec())
    (result,) = method.compute([item])
    return result


def test_given_answers_are_scored_after_the_plain_prompt(tmp_path: Path) -> None:
    engine = WordEngine()
    result = computed(spec(tmp_path, keep_prompts=True), engine)
    (request,) = engine.asked
    assert request.context == "<s>Question: What do bees make?\nAnswer:"
    assert request.continuations == (" honey", " a very long list of other things", " ash")
    assert result.scores[0].model_dump() == {
        "logprob": -6.0, "tokens": 1, "chars": 5, "bytes": 5, "greedy": False,
    }  # fmt: skip
    assert (result.method, result.completion, result.tokens_in, result.tokens_out) == ("score", "", 9, 0)
    assert result.prompt == request.context
    assert result.metrics["acc"] == 0.0  # `ash` is shorter
    assert result.extracted is not None


def test_a_thought_is_written_first_and_stands_before_the_scoring(tmp_path: Path) -> None:
    engine = WordEngine()
    result = computed(spec(tmp_path, thought="Let us think."), engine)
    prompt, request = engine.asked
    assert prompt.text.endswith("Let us think.\n")
    assert "bees and flowers" in request.context
    assert request.context.startswith("<s>")
    assert (result.completion, result.tokens_in, result.tokens_out, result.logprob) == (
        "bees and flowers",
        7,
        3,
        -1.5,
    )
    assert len(result.scores) == 3


def test_written_answers_have_their_cost(tmp_path: Path) -> None:
    engine = WordEngine()
    prices = EngineSpec(price_in=2.0, price_out=4.0)
    result = computed(spec(tmp_path, method="generate"), engine, prices)
    assert result.metrics["cost"] == pytest.approx((2 * 7 + 4 * 3) / 1e6)
    assert engine.asked[0].messages[-1]["role"] == "user"
    assert "cost" not in computed(spec(tmp_path, method="generate"), WordEngine()).metrics


def test_an_engine_that_cannot_score_is_refused_with_the_next_step(tmp_path: Path) -> None:
    order = Order(run="r", name="r", model="m", model_id="m", task=spec(tmp_path),
                  engine=EngineSpec(name="recorded", path="x"), generate=GenerateSpec())  # fmt: skip
    with pytest.raises(EngineError, match=r"`transformers` or `vllm`, or set `task.method: generate`"):
        method_for(load(TASKS["arc_easy"])(), order.task, RecordedEngine(order), {}, {}, order.engine)
    blind = WordEngine()
    blind.renders = False
    with pytest.raises(EngineError, match=r"set `task.template: none`"):
        method_for(load(TASKS["arc_easy"])(), spec(tmp_path, template="chat"), blind, {}, {}, order.engine)


def test_a_run_that_scores_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote_agent.engines.recorded.RecordedEngine", WordEngine)
    folder = tmp_path / "r"
    folder.mkdir()
    order = Order(run="r", name="r", model="m", model_id="m", task=spec(tmp_path),
                  engine=EngineSpec(name="recorded", path="x", batch_size="auto"), generate=GenerateSpec())  # fmt: skip
    run = Run(folder, order)
    run.save()
    assert worker.main(folder) == 0
    (result,) = run.records("result")
    assert (result["method"], len(result["scores"])) == ("score", 3)
    assert [r["status"] for r in run.records("check") if r["status"] == "fail"] == []
