"""Checks on real tokenizers, each made for its fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remote_agent import preflight
from remote_agent.preflight import Prompts, tokens
from remote_agent.tasks.base import Sample

from .tokenizers_made import CHATML, LLAMA_2_STYLE, byte_level, chat

pytestmark = pytest.mark.model


def rendered(text: str, question: str = "How many?") -> Prompts:
    return Prompts([Sample("s-1", question, "1")], [text], [len(text)])


def test_a_sound_tokenizer_passes_every_check() -> None:
    made = byte_level()
    text = rendered(chat(made))
    found = [
        tokens.template(made), tokens.cue(made, text), tokens.begin_token(made, text.texts[0]),
        tokens.markers(made, text), tokens.added_tokens(made, len(made)), tokens.padding(made),
        tokens.vocabulary(len(made), len(made)), tokens.trained_markers(made, ["<|im_start|>"]),
    ]  # fmt: skip
    assert {check.status for check in found} == {"ok"}, found


def test_a_base_model_has_no_chat_template() -> None:
    found = tokens.template(byte_level(template=None))
    assert found.status == "fail"
    assert "set `task.template: none`" in found.message


def test_a_template_that_does_not_open_the_answer() -> None:
    made = byte_level(template=CHATML.partition("{% if")[0])
    assert tokens.cue(made, rendered(chat(made))).status == "warn"


def test_markers_of_another_family_fall_into_pieces_and_are_named() -> None:
    """`<|user|>` written into the prompts of a tokenizer that only knows other markers."""
    made = byte_level(["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], template=LLAMA_2_STYLE)
    found = tokens.markers(made, rendered(chat(made)))
    assert found.status == "fail"
    assert (
        "<|assistant|> is no token of this tokenizer, it falls into 13 pieces (< | a s s i" in found.message
    )
    trained = tokens.trained_markers(made, ["<|eot_id|>", "<|system|>"])
    assert trained.status == "fail"
    assert trained.message.startswith("In the training data <|system|> is no token")


def test_a_begin_token_written_by_template_and_tokenizer() -> None:
    twice = byte_level(begin=True, template="<s><s>" + CHATML)
    assert tokens.begin_token(twice, chat(twice)).status == "fail"
    once = byte_level(begin=True, template="<s>" + CHATML)
    assert tokens.begin_token(once, chat(once)).status == "ok"
    never = byte_level(begin=True)
    assert tokens.begin_token(never, chat(never)).status == "warn"


def add(made: Any, token: str, **how: Any) -> Any:
    from transformers import AddedToken

    made.add_tokens([AddedToken(token, **how)])
    return made


def test_added_tokens_must_come_out_as_themselves() -> None:
    assert tokens.added_tokens(add(byte_level(), "<mul>", normalized=False), None).status == "ok"
    word = tokens.added_tokens(add(byte_level(), "<mul>", single_word=True), None)
    assert word.status == "warn"
    assert "'<mul>' is not found between letters" in word.message


def test_a_token_that_the_normalizer_hides_within_a_text() -> None:
    """A normalizer that writes a mark before each text hides a token that it normalises, too."""
    from tokenizers import normalizers

    made = byte_level()
    made.backend_tokenizer.normalizer = normalizers.Prepend("_")
    add(made, "<mul>", normalized=True)
    unused = tokens.added_tokens(made, None, ["2 times 3"])
    assert unused.status == "warn"
    used = tokens.added_tokens(made, None, ["2 <mul> 3"])
    assert used.status == "fail"
    assert "'<mul>' is not found in a prompt that holds it" in used.message


def test_a_token_that_was_added_to_the_tokenizer_only() -> None:
    made = add(byte_level(), "<mul>", normalized=False)
    found = tokens.added_tokens(made, len(made) - 1)
    assert found.status == "fail"
    assert (
        f"The token <mul> has the number {len(made) - 1}, the model embeds {len(made) - 1}" in found.message
    )


def test_more_embeddings_than_tokens_are_padding_up_to_a_point() -> None:
    assert tokens.vocabulary(1000, 1024).status == "ok"
    assert tokens.vocabulary(1000, 32000).status == "warn"
    assert tokens.vocabulary(1000, 999).status == "fail"


def test_a_question_with_a_marker_in_it_is_not_the_templates_fault() -> None:
    made = byte_level()
    question = "What does <|system|> mean?"
    found = preflight.markers(made, rendered(chat(made, question), question))
    assert found.status == "warn"
    assert "It comes from the question of s-1" in found.message


def test_the_embedding_is_counted_in_the_weights(tmp_path: Path) -> None:
    """A config.json that says otherwise is not believed."""
    import torch
    from safetensors.torch import save_file

    from remote_agent import models

    save_file(
        {"model.embed_tokens.weight": torch.zeros(258, 4), "lm_head.weight": torch.zeros(300, 4)},
        tmp_path / "model.safetensors",
    )
    assert models.embedding_rows(tmp_path) == 258
    assert models.parameter_count(tmp_path) == 558 * 4
    assert models.embedding_rows(tmp_path / "none") is None
