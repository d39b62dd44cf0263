"""What is refused, or said, of the rows before the first step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from remote_agent.protocol import Check, TaskSpec
from remote_agent.tasks.hellaswag import HellaSwag
from remote_agent.tasks.word_problems import WordProblems
from remote_agent.train_protocol import TrainSpec
from remote_agent.training import preflight
from remote_agent.training.masking import Masked
from remote_agent.training.rows import Row, Rows
from tests.agent.tokenizers_made import byte_level

pytestmark = pytest.mark.model

SPEC = TaskSpec(name="word_problems")
LLAMA_31 = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"]
LLAMA_31_TEMPLATE = (
    "{{ '<|begin_of_text|>' }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' "
    "+ m.content | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def rows_of(*chats: list[dict[str, str]]) -> Rows:
    made = [
        Row(f"line {n}", chat[:-1], chat[-1]["content"], chat, {"messages": chat})
        for n, chat in enumerate(chats, 1)
    ]
    return Rows(tuple(made), "rows.jsonl", "0")


def turns(*texts: str, system: str | None = None) -> list[dict[str, str]]:
    roles = ("user", "assistant") * len(texts)
    said = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return said if system is None else [{"role": "system", "content": system}, *said]


def train(**changes: Any) -> TrainSpec:
    return TrainSpec.model_validate({"method": "sft", "data": {"path": "x"}, "steps": 1, **changes})


def only(checks: Iterable[Check]) -> Check:
    (check,) = checks
    return check


def test_a_row_of_which_nothing_counts_is_named() -> None:
    marks_nothing = "{% for m in messages %}{{ m.content }}{% generation %}{% endgeneration %}{% endfor %}"
    tokenizer = byte_level(template=marks_nothing)
    _, checks = preflight.supervised(tokenizer, rows_of(turns("hi", "ho")), train(), [])
    found = only(checks)
    assert found.status == "fail"
    assert found.message.startswith("line 1: none of its tokens counts for the loss")


def test_an_answer_that_would_be_cut_is_named() -> None:
    _, checks = preflight.supervised(byte_level(), rows_of(turns("hi", "ho")), train(max_length=20), [])
    assert "line 1: " in only(checks).message
    assert "above max_length 20: its end would be cut" in only(checks).message


def test_markers_of_another_model_are_refused_for_llama_31() -> None:
    tokenizer = byte_level(LLAMA_31, template=LLAMA_31_TEMPLATE)
    own = rows_of(turns("<|start_header_id|>tool<|end_header_id|> x", "call()<|eot_id|>"))
    assert preflight.markers(tokenizer, own).status == "ok"
    for wrong in ("<|im_start|>", "<|assistant|>", "<|end_of_turn|>"):
        found = preflight.markers(tokenizer, rows_of(turns("hi", f"{wrong}call()")))
        assert found.status == "fail"
        assert wrong in found.message


def test_llama_31_without_generation_marks_is_repaired_and_said() -> None:
    tokenizer = byte_level(LLAMA_31, template=LLAMA_31_TEMPLATE)
    masked, checks = preflight.supervised(tokenizer, rows_of(turns("hi", "ho")), train(), [])
    text = tokenizer.decode(
        [id for id, counts in zip(masked[0].ids, masked[0].counts, strict=True) if counts]
    )
    assert text == "ho<|eot_id|>"
    assert "they were found by rendering" in next(c.message for c in checks if c.name == "mask")


def test_an_evaluation_without_the_template_is_refused() -> None:
    rows = rows_of(turns("hi", "ho"))
    plain = SPEC.model_copy(update={"template": "none"})
    found = preflight.same_prompt(WordProblems(), plain, rows, force=False)
    assert found.status == "fail"
    assert "the evaluation asks in plain text" in found.message
    assert preflight.same_prompt(WordProblems(), plain, rows, force=True).forced
    assert preflight.same_prompt(HellaSwag(), TaskSpec(name="hellaswag"), rows, force=False).status == "fail"


def test_another_system_prompt_is_said() -> None:
    rows = rows_of(turns("hi", "ho", system="Be brief."))
    assert preflight.same_prompt(WordProblems(), SPEC, rows, force=False).status == "warn"
    same = SPEC.model_copy(update={"system": "Be brief."})
    assert preflight.same_prompt(WordProblems(), same, rows, force=False).status == "ok"


@pytest.mark.parametrize(
    ("window", "limit", "said"),
    [
        (100, 3, []),
        (None, 3, []),
        (9, 3, [("fail", "line 2: 10 tokens, and the model reads 9")]),
        (100, 2, [("warn", "1 of 2 answers are longer than the 2 tokens")]),
    ],
)
def test_what_does_not_fit_is_said(window: int | None, limit: int, said: list[tuple[str, str]]) -> None:
    rows = rows_of(turns("hi", "ho"), turns("hi", "ho"))
    masked = [
        Masked([1] * 5, [False] * 3 + [True] * 2, repaired=False),
        Masked([1] * 10, [True] * 5 + [False] * 2 + [True] * 3, repaired=False),
    ]
    found = list(preflight.lengths(masked, rows, window, limit))
    assert [(c.status, c.message[: len(text)]) for c, (_, text) in zip(found, said, strict=True)] == said


def test_what_this_machine_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.torch.cuda, "is_available", lambda: False)
    assert list(preflight.hardware(train(lora={"r": 4}))) == []
    found = only(preflight.hardware(train(lora={"r": 4, "quantise": "4bit"})))
    assert found.status == "fail"
    assert "`lora.quantise: 4bit` needs a CUDA GPU" in found.message
    rollouts = train(method="grpo", vllm=True)
    assert "`vllm: true` needs a CUDA GPU" in only(preflight.hardware(rollouts)).message
