"""Which models are computed packed: asked of tiny models of several families, made on the spot."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.model

SIZES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def tiny(family: str, **more: Any) -> Any:
    import torch
    import transformers

    config = getattr(transformers, f"{family}Config")(**more)
    torch.manual_seed(7)
    return getattr(transformers, f"{family}ForCausalLM" if family != "GPT2" else "GPT2LMHeadModel")(
        config
    ).eval()


LLAMA = {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("family", "settings", "suits"),
    [
        ("Llama", LLAMA, True),
        ("Qwen2", LLAMA, True),
        ("GPT2", {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}, True),
        ("Mistral", {**LLAMA, "sliding_window": 4}, False),
        # Bloom knows distances instead of positions: packed continuations would stand too far away.
        ("Bloom", {"vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4}, False),
        ("Mamba", {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, False),
    ],
)
def test_a_model_is_packed_only_where_that_changes_nothing(
    family: str, settings: dict[str, Any], suits: bool
) -> None:
    from remote_agent.engines.suitable import takes_masks

    assert takes_masks(tiny(family, **settings)) is suits


def test_packed_layers_give_the_plain_product_or_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from remote_agent.engines import packed_linear

    model = tiny("Llama", **LLAMA)
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        plain = model(ids).logits
        monkeypatch.setattr(packed_linear, "TOLERANCE", -1.0)
        assert not packed_linear.pack_linears(model)
        assert torch.equal(model(ids).logits, plain)
        monkeypatch.setattr(packed_linear, "TOLERANCE", 1e-3)
        if not packed_linear.pack_linears(model):
            pytest.skip("this torch has no packed product")
        assert torch.allclose(model(ids).logits, plain, atol=1e-4)
    assert any(isinstance(layer, packed_linear.PackedLinear) for layer in model.modules())
