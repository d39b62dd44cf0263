"""Engines: recorded answers are the right ones, and real ones do not hang on their neighbours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from remote_agent.engines.base import EngineError, Prompt
from remote_agent.engines.recorded import RecordedEngine
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec

ROW = {"tokens_in": 3, "tokens_out": 2, "finish": "stop"}


def recorded(tmp_path: Path, *rows: dict[str, Any]) -> RecordedEngine:
    path = tmp_path / "recorded.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = RecordedEngine(order(EngineSpec(name="recorded", path=str(path))))
    engine.prepare()
    return engine


def order(engine: EngineSpec, **generate: Any) -> Order:
    return Order(
        run="r", name="r", model="HuggingFaceTB/SmolLM2-135M-Instruct", model_id="smol", task=TaskSpec(name="word_problems"),
        engine=engine, generate=GenerateSpec(**{"max_tokens": 8, **generate}),
    )  # fmt: skip


def test_recorded_answers_by_prompt_and_candidate(tmp_path: Path) -> None:
    sha = Prompt("p").sha
    engine = recorded(
        tmp_path,
        {"prompt_sha": sha, "candidate": 0, "completion": "first", **ROW},
        {"prompt_sha": sha, "candidate": 1, "completion": "second", **ROW},
        {"prompt": "q", "completion": "any", **ROW},
    )
    texts = [
        c.text for c in engine.generate([Prompt("p", candidate=1), Prompt("p"), Prompt("q", candidate=5)])
    ]
    assert texts == ["second", "first", "any"]
    with pytest.raises(EngineError, match="sample s, candidate 2"):
        engine.generate([Prompt("p", sample="s", candidate=2)])


def test_a_journal_is_a_recording(tmp_path: Path) -> None:
    result = {"kind": "result", "sample": "s", "candidate": 0, "prompt_sha": "0", "completion": "x", **ROW}
    engine = recorded(tmp_path, {"kind": "opened"}, result)
    assert engine.generate([Prompt("another rendering", sample="s")])[0].text == "x"
    assert "by sample" in engine.describe().weights


def test_an_unusable_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="holds no completions"):
        recorded(tmp_path, {"kind": "opened"})
    with pytest.raises(EngineError, match=r"line 2: no field 'tokens_in'"):
        recorded(tmp_path, {"kind": "opened"}, {"prompt": "p", "completion": "x"})
    with pytest.raises(EngineError, match="cannot be read"):
        RecordedEngine(order(EngineSpec(name="recorded", path=str(tmp_path / "none")))).prepare()


TEXTS = [
    f"<|im_start|>user\nHere is a list of words and one question, which is to be answered in a few words: "
    f"red, green, blue, apple, pear, house, tree, river. {question}<|im_end|>\n<|im_start|>assistant\n"
    for question in ("Which are colours?", "What is 2+3?", "Name a fruit, and say in a few words what it is.")
]


def real(**generate: Any) -> Any:
    from remote_agent.engines.transformers import TransformersEngine

    engine = TransformersEngine(order(EngineSpec(threads=1), **generate))
    engine.prepare()
    engine.load()
    return engine


@pytest.mark.model
def test_sampled_answers_do_not_hang_on_their_neighbours() -> None:
    engine = real(temperature=0.9)
    prompts = [Prompt(text, seed) for seed, text in enumerate(TEXTS)]
    together = engine.generate(prompts)
    assert together == [engine.generate([p])[0] for p in prompts]
    assert engine.generate([Prompt(TEXTS[0], 99)])[0].text != together[0].text


@pytest.mark.model
def test_a_shared_beginning_changes_no_answer() -> None:
    engine = real()
    prompts = [Prompt(text) for text in TEXTS]
    plain = engine.generate(prompts)
    engine.expect(TEXTS)
    assert engine._shared
    assert engine.generate(prompts) == plain
    assert [engine.generate([p])[0] for p in prompts] == plain
    assert [c.tokens_in for c in plain] == engine.count_tokens(TEXTS)
    assert {c.finish for c in plain} <= {"stop", "length"}
    assert all(c.tokens_out == 8 for c in plain if c.finish == "length")


@pytest.mark.model
def test_out_of_memory_halves_the_batch_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = real(max_tokens=2)
    whole, sizes = engine._generate, []

    def small(prompts: list[Prompt]) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > 1:
            raise RuntimeError("DefaultCPUAllocator: out of memory")
        return whole(prompts)

    monkeypatch.setattr(engine, "_generate", small)
    assert len(engine.generate([Prompt(text) for text in TEXTS])) == 3
    assert sizes == [3, 1, 1, 1]
