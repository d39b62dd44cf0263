"""Packed scoring: what sees what, what fits a row, and that scores are those of the plain way."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_agent.engines.base import EngineError, ScoreRequest
from remote_agent.engines.pairs import Encoded, document, encode, split_spaces
from remote_agent.engines.recorded import RecordedEngine
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
SHARED = Path(os.environ.get("GPUSESS_SHARED", Path(__file__).resolve().parents[3] / "shared"))

tokens = st.lists(st.integers(0, 9), min_size=1, max_size=6)
encoded = st.builds(Encoded, tokens, st.lists(tokens, min_size=1, max_size=4))


class Words:
    """A tokenizer of words, each with the blank before it."""

    bos_token, bos_token_id, eos_token_id = "<s>", 1, 2

    def __call__(self, texts: Any, add_special_tokens: bool = True) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": [1] * add_special_tokens + self._ids(texts)}
        return {"input_ids": [[1] * add_special_tokens + self._ids(text) for text in texts]}

    def _ids(self, text: str) -> list[int]:
        return [sum(map(ord, word)) for word in text.replace(" ", "\n ").split("\n") if word]


def test_blanks_at_the_end_of_a_context_go_to_the_continuation() -> None:
    assert split_spaces("a b  ", "c") == ("a b", "  c")
    (found,) = encode(Words(), [ScoreRequest("s", "a b ", ("c", "c d"))])
    words = Words()._ids("a b c d")
    assert (found.context, found.continuations) == (words[:2], [words[2:3], words[2:]])
    assert found.tokens == 3


def test_an_empty_context_is_the_begin_token_and_an_empty_continuation_is_refused() -> None:
    (found,) = encode(Words(), [ScoreRequest("s", "", (" a",))])
    assert found.context == [1]
    with pytest.raises(ValueError, match="the continuation '' of s"):
        encode(Words(), [ScoreRequest("s", "a", ("",))])


def test_a_document_gets_its_begin_token_once() -> None:
    assert document(Words(), "text") == "<s>text"
    assert document(Words(), "<s>text") == "<s>text"


def test_an_engine_that_cannot_score_says_so() -> None:
    order = Order(run="r", name="r", model="m", model_id="m", task=TaskSpec(name="word_problems"),
                  engine=EngineSpec(name="recorded", path="x"), generate=GenerateSpec())  # fmt: skip
    with pytest.raises(EngineError, match="Next: take"):
        RecordedEngine(order).score([])


@pytest.mark.model
@settings(deadline=None)  # torch is imported in the first one
@given(st.lists(encoded, min_size=1, max_size=4))
def test_a_token_sees_its_own_context_and_its_own_continuation(requests: list[Encoded]) -> None:
    from remote_agent.engines.scoring import pack

    row = pack(requests)
    mask = row.mask().tolist()
    reads = iter(zip(row.reads, row.targets, strict=True))
    for request in requests:
        for tokens in request.continuations:
            places, targets = next(reads)
            assert targets == tokens
            # What the last place of a continuation sees is the context and the continuation before it, in order.
            seen = [row.ids[at].item() for at in range(len(mask)) if mask[places[-1]][at]]
            assert seen == request.context + tokens[:-1]
            assert [row.positions[at].item() for at in range(len(mask)) if mask[places[-1]][at]] == list(
                range(len(seen))
            )
    assert len(row.ids) == sum(r.tokens for r in requests)


@pytest.mark.model
@settings(deadline=None)  # torch is imported in the first one
@given(st.lists(encoded, max_size=12), st.integers(1, 30))
def test_rows_hold_each_request_once_and_keep_their_budget(requests: list[Encoded], budget: int) -> None:
    from remote_agent.engines.scoring import rows_within

    rows = rows_within(requests, budget)
    assert sorted(i for row in rows for i in row) == list(range(len(requests)))
    assert all(len(row) == 1 or sum(requests[i].tokens for i in row) <= budget for row in rows)


@functools.cache
def loaded() -> Any:
    from remote_agent.engines.transformers import TransformersEngine

    order = Order(run="r", name="r", model=MODEL, model_id="smol", task=TaskSpec(name="word_problems"),
                  engine=EngineSpec(dtype="float32", threads=1), generate=GenerateSpec(max_tokens=4))  # fmt: skip
    made = TransformersEngine(order)
    made.prepare()
    made.load()
    assert made._suits
    return made


def engine() -> Any:
    """One engine for all tests of this module, as it is when loaded."""
    made = loaded()
    made._suits = True
    return made


REQUESTS = [
    ScoreRequest("a", "The capital of France is", (" Paris.", " a town called Lyon.", " 7")),
    ScoreRequest("b", "Two and two make ", ("four", "five of them, mostly")),
    ScoreRequest("c", "Question: What do bees make?\nAnswer:", (" A", " B", " C", " D")),
]


@pytest.mark.model
def test_packed_scores_are_the_plain_ones() -> None:
    made = engine()
    assert made._suits
    assert made.describe().how == ""
    packed = made.score(REQUESTS)
    made._suits = False
    assert "plain" in made.describe().how
    plain = made.score(REQUESTS)
    flat = [(p, q) for a, b in zip(packed, plain, strict=True) for p, q in zip(a, b, strict=True)]
    assert len(flat) == 9
    assert all(p.logprob == pytest.approx(q.logprob, abs=1e-4) for p, q in flat)
    assert all((p.tokens, p.greedy) == (q.tokens, q.greedy) for p, q in flat)
    assert packed[0][0].logprob > packed[0][2].logprob
    assert any(p.greedy for p, _ in flat)


@pytest.mark.model
def test_a_row_that_does_not_fit_is_halved_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from remote_agent.engines import scoring

    made, whole, sizes = engine(), scoring._packed, []
    calm = made.score(REQUESTS)

    def small(model: Any, requests: list[Encoded]) -> Any:
        sizes.append(len(requests))
        if len(requests) > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory")
        return whole(model, requests)

    monkeypatch.setattr(scoring, "_packed", small)
    found = made.score(REQUESTS)
    assert sizes == [3, 1, 1, 1]
    assert [[s.tokens for s in scores] for scores in found] == [[s.tokens for s in scores] for scores in calm]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data/hellaswag/val_first200.jsonl").exists(), reason="no shared data")
def test_hellaswag_is_scored_as_the_peer_scores_it() -> None:
    """Recorded of lm-evaluation-harness 0.4.13 on the first row: the four sums of log-likelihoods, float32."""
    from remote_agent.registry import TASKS, load

    spec = TaskSpec(name="hellaswag", path=str(SHARED / "data/hellaswag/val_first200.jsonl"))
    task = load(TASKS["hellaswag"])()
    sample = task.load(spec).samples[0]
    request = ScoreRequest(sample.id, task.context(sample, spec), task.continuations(sample, spec))
    (scores,) = engine().score([request])
    recorded = [-39.923145, -31.428465, -22.971727, -31.233187]
    assert [s.logprob for s in scores] == pytest.approx(recorded, abs=1e-4)
