"""The reward model: a real sequence classifier, tiny and made here, scored as transformers would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remote_agent.protocol import RerankSpec
from remote_agent.reranking import reranker
from remote_agent.reranking.base import Candidate, RerankError

pytestmark = pytest.mark.model

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXTS = ["18", "the answer is 17", "", "a much longer answer that says nothing at all"]


def made(folder: Path, labels: int = 1, classifier: bool = True) -> Path:
    """A Llama of two small layers with a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|end|>", additional_special_tokens=["<|user|>", "<|assistant|>"]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256, num_labels=labels,
    )  # fmt: skip
    kind: Any = LlamaForSequenceClassification if classifier else LlamaForCausalLM
    kind(config).save_pretrained(folder)
    return folder


def candidates() -> list[Candidate]:
    asked = [{"role": "user", "content": "How many?"}]
    return [Candidate("s", i, asked, text, 1, None) for i, text in enumerate(TEXTS)]


def test_scores_are_the_models_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = made(tmp_path / "reward")
    scorer = reranker(RerankSpec(name="r", by="model", model=str(folder)))
    assert str(folder) in scorer.prepare()
    scorer.load()
    together = scorer.score(candidates())
    alone = [scorer.score([c])[0] for c in candidates()]
    assert together == pytest.approx(alone, abs=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for text, score in zip(TEXTS, together, strict=True):
        ids = tokenizer(f"<|user|>How many?<|end|><|assistant|>{text}<|end|>", return_tensors="pt")
        with torch.inference_mode():
            assert model.model(**ids).last_hidden_state.shape[1] == ids["input_ids"].shape[1]
            hidden = model.model(**ids).last_hidden_state[0, -1]
            assert score == pytest.approx(model.score(hidden).item(), abs=1e-4)


def test_a_language_model_is_no_reward_model(tmp_path: Path) -> None:
    folder = made(tmp_path / "chat", classifier=False)
    scorer = reranker(RerankSpec(name="r", by="model", model=str(folder)))
    scorer.prepare()
    with pytest.raises(RerankError, match=r"no trained weights for score\.weight: it is no reward model"):
        scorer.load()


def test_several_outputs_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "classes", labels=3)
    with pytest.raises(RerankError, match="has 3 outputs, a reward model has one"):
        reranker(RerankSpec(name="r", by="model", model=str(folder))).prepare()


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RerankError, match="the reward model /nowhere/x cannot be had"):
        reranker(RerankSpec(name="r", by="model", model="/nowhere/x")).prepare()
