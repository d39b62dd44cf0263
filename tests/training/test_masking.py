"""Which tokens count: with templates that mark it, that do not, and that cannot be repaired."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_agent.training.masking import IGNORED, MaskError, ends_turn, has_marks, mask_chat

pytestmark = pytest.mark.model

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "It is 5."},
    {"role": "user", "content": "And 4?"},
    {"role": "assistant", "content": "9\n#### 9"},
]
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}"
    "{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{{ (m.content if loop.last else m.content[:3]) + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def counted(tokenizer: Any, masked: Any) -> list[str]:
    """The runs of tokens that count, as text."""
    runs: list[list[int]] = [[]]
    for id, counts in zip(masked.ids, masked.counts, strict=True):
        if counts:
            runs[-1].append(id)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def test_the_answers_and_their_ends_count_and_nothing_else(tokenizer: Any) -> None:
    masked = mask_chat(tokenizer, CHAT)
    assert counted(tokenizer, masked) == ["It is 5.<|im_end|>", "9\n#### 9<|im_end|>"]
    assert masked.repaired
    assert ends_turn(tokenizer, masked, [])
    assert tokenizer.decode(masked.ids) == tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert [label for label in masked.labels if label != IGNORED] == [
        id for id, counts in zip(masked.ids, masked.counts, strict=True) if counts
    ]


def test_marks_of_the_template_and_the_repair_agree(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = CHAT[1:]
    plain = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    monkeypatch.setattr(tokenizer, "chat_template", plain)
    repaired = mask_chat(tokenizer, chat)
    monkeypatch.setattr(tokenizer, "chat_template", MARKED)
    assert has_marks(tokenizer)
    marked = mask_chat(tokenizer, chat)
    assert not marked.repaired
    assert (marked.ids, marked.counts) == (repaired.ids, repaired.counts)


def test_a_template_that_rewrites_earlier_turns_is_refused(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", FORGETFUL)
    with pytest.raises(MaskError, match="generation"):
        mask_chat(tokenizer, CHAT)


def test_a_chat_without_an_answer_is_refused(tokenizer: Any) -> None:
    with pytest.raises(MaskError, match="assistant"):
        mask_chat(tokenizer, CHAT[:2])


def test_a_template_that_fails_is_named(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(MaskError, match="roles must alternate"):
        mask_chat(tokenizer, CHAT)


def test_without_assistant_only_every_token_counts(tokenizer: Any) -> None:
    assert all(mask_chat(tokenizer, CHAT, assistant_only=False).counts)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_what_counts_is_the_answer_to_the_letter(tokenizer: Any, question: str, answer: str) -> None:
    if answer != answer.strip() or "<|" in question + answer:
        return  # a template may strip; markers in the data are the preflight's to refuse
    masked = mask_chat(
        tokenizer, [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    )
    expected = tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
    ids = [id for id, counts in zip(masked.ids, masked.counts, strict=True) if counts]
    assert tokenizer.decode(ids) == tokenizer.decode(expected)
