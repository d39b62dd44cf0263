"""Engines: recorded answers are the right ones, and real ones do not hang on their neighbours."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from remote_agent.engines.base import Completion, EngineError, Prompt, ScoreRequest
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


def said(answers: list[Completion]) -> list[tuple[Any, ...]]:
    """All but the likelihood, whose last digits hang on the batch."""
    return [(c.text, c.tokens_in, c.tokens_out, c.finish) for c in answers]


@functools.cache
def loaded() -> Any:
    """One engine for all tests of this module: loading takes longer than most of them."""
    from remote_agent.engines.transformers import TransformersEngine

    engine = TransformersEngine(order(EngineSpec(threads=1)))
    engine.prepare()
    engine.load()
    return engine


def real(**generate: Any) -> Any:
    """The loaded engine as it is before its first batch."""
    from remote_agent.engines.memory import Fitting

    engine = loaded()
    engine._order = order(EngineSpec(threads=1), **generate)
    engine._suits, engine._shared, engine._generating = True, 0, Fitting(None, lambda: None)
    return engine


@pytest.mark.model
def test_sampled_answers_do_not_hang_on_their_neighbours() -> None:
    engine = real(temperature=0.9)
    prompts = [Prompt(text, seed) for seed, text in enumerate(TEXTS)]
    together = engine.generate(prompts)
    assert said(together) == said([engine.generate([p])[0] for p in prompts])
    assert engine.generate([Prompt(TEXTS[0], 99)])[0].text != together[0].text


@pytest.mark.model
def test_a_shared_beginning_changes_no_answer() -> None:
    engine = real()
    prompts = [Prompt(text) for text in TEXTS]
    plain = engine.generate(prompts)
    engine.expect(TEXTS)
    assert engine._shared
    assert said(engine.generate(prompts)) == said(plain)
    assert said([engine.generate([p])[0] for p in prompts]) == said(plain)
    assert [c.tokens_in for c in plain] == engine.count_tokens(TEXTS)
    assert {c.finish for c in plain} <= {"stop", "length"}
    assert all(c.tokens_out == 8 for c in plain if c.finish == "length")


@pytest.mark.model
@pytest.mark.parametrize("suits", [True, False])
def test_out_of_memory_halves_the_batch_and_goes_on(monkeypatch: pytest.MonkeyPatch, suits: bool) -> None:
    engine = real(max_tokens=2)
    engine._suits = suits
    calm = engine.generate([Prompt(text) for text in TEXTS])
    name = "_in_slots" if suits else "_plainly"
    whole, sizes = getattr(engine, name), []

    def small(jobs: list[Any], size: int, *rest: Any) -> Any:
        sizes.append((len(jobs), size))
        if size > 2:
            raise MemoryError
        whole(jobs[:1], size, *rest)
        if size > 1:
            raise RuntimeError("DefaultCPUAllocator: out of memory")
        whole(jobs[1:], size, *rest)

    monkeypatch.setattr(engine, name, small)
    assert said(engine.generate([Prompt(text) for text in TEXTS])) == said(calm)
    assert sizes == [(3, 3), (3, 1)]


@pytest.mark.model
def test_memory_that_never_suffices_fails_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = real(max_tokens=2)

    def never(*_: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(engine, "_in_slots", never)
    with pytest.raises(RuntimeError, match="for a single prompt"):
        engine.generate([Prompt(text) for text in TEXTS])


@pytest.mark.model
def test_slots_are_refilled_and_change_no_answer() -> None:
    engine = real(max_tokens=6)
    prompts = [Prompt(text) for text in TEXTS * 3]
    at_once = engine.generate(prompts)
    engine._generating.most = 2
    assert said(engine.generate(prompts)) == said(at_once)
    engine._suits = False
    plain = engine.generate(prompts)
    assert said(plain) == said(at_once)
    for a, b in zip(plain, at_once, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-3)


@pytest.mark.model
@pytest.mark.parametrize("suits", [True, False])
def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(suits: bool) -> None:
    engine = real(max_tokens=12)
    engine._suits = suits
    whole = engine.generate([Prompt(TEXTS[1])])[0]
    stop = whole.text[3:5]
    cut, other = engine.generate([Prompt(TEXTS[1], stop=(stop, "never there")), Prompt(TEXTS[0])])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish == "stop"
    assert cut.tokens_out < whole.tokens_out
    assert other.text == engine.generate([Prompt(TEXTS[0])])[0].text


@pytest.mark.model
def test_the_likelihood_of_an_answer_is_that_of_scoring_it() -> None:
    engine = real(max_tokens=5)
    (answer,) = engine.generate([Prompt(TEXTS[2])])
    ((score,),) = engine.score([ScoreRequest("s", TEXTS[2], (answer.text,))])
    assert answer.finish == "length"
    # The template's prompt ends in a line break, which moves to the continuation.
    assert (score.tokens, score.greedy) == (answer.tokens_out + 1, True)
    assert answer.logprob == pytest.approx(score.logprob, abs=0.05)


@pytest.mark.model
def test_narrowing_leaves_the_likeliest_tokens() -> None:
    import torch

    from remote_agent.engines.sampling import Sampling, generators

    scores = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]))
    kept = [
        Sampling(1.0, *limits).narrowed(scores).isfinite().tolist()
        for limits in ((2, 1.0), (0, 0.7), (0, 0.1))
    ]
    assert kept[0] == [[True, True, False, False], [False, False, True, True]]
    assert kept[1] == kept[0]
    assert kept[2] == [[True, False, False, False], [False, False, False, True]]
    rows = scores[:1].repeat(2000, 1)
    drawn = Sampling(1.0).draw(rows, generators(range(2000), torch.device("cpu")))
    shares = torch.bincount(drawn, minlength=4) / 2000
    assert shares.tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.04)
