"""What engines share that hold the model themselves: its folder, its settings, its tokenizer and chat
template.

Nothing here computes, and nothing here imports torch by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from remote_agent import adapters, models
from remote_agent.engines import pairs
from remote_agent.engines.base import BatchEngine, Description, EngineError, Message
from remote_agent.protocol import Order

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class LocalModel(BatchEngine):
    """A model folder on this machine. Text is split without adding special tokens: it holds them already."""

    can_score = True
    tokenizer: Any | None = None
    context_window: int | None = None
    embedding_rows: int | None = None
    weight_bytes: int | None = None
    free_bytes: int | None = None

    def __init__(self, order: Order) -> None:
        self._order = order
        self._config: dict[str, Any] = {}
        self.folder = Path()
        """Where the model is; known after `prepare()`, as are the following."""
        self.weights = Path()
        """Where its whole weights are: the same, or the base model's folder where it is an adapter."""
        self.adapter: Path | None = None
        self.dtype = "float32"
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()

    def prepare(self) -> None:
        found = adapters.locate(self._order.model, self._order.revision, self._order.base)
        self.folder, self.weights, self.adapter = found.folder, found.weights, found.adapter
        self._config = _read_config(self.weights)
        self.dtype = self.wanted_dtype()
        self.context_window = self._config.get("max_position_embeddings")
        self.embedding_rows = models.embedding_rows(self.weights) or self._config.get("vocab_size")
        parameters = models.parameter_count(self.weights)
        self.weight_bytes = parameters * ITEM_BYTES.get(self.dtype, 4) if parameters else None
        self.free_bytes = self.free_memory()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(self._tokenizer_folder())
        except (OSError, ValueError) as exc:
            raise EngineError(f"no tokenizer in {self.folder}: {str(exc).splitlines()[0]}") from exc
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def _tokenizer_folder(self) -> Path:
        """An adapter's own tokenizer and chat template, where it came with them; else the base model's."""
        own = any((self.folder / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json"))
        return self.folder if own else self.weights

    def wanted_dtype(self) -> str:
        """The dtype to compute in."""
        raise NotImplementedError

    def free_memory(self) -> int | None:
        """Bytes free where the weights go."""
        raise NotImplementedError

    def describe(self) -> Description:
        source = models.source_of(self.weights)
        file = f" ({source['file']})" if "file" in source else ""
        weights = f"{source.get('from', self.weights)}{file}"
        if self.adapter is not None:
            weights = f"the adapter {self.adapter} on {source.get('model', self.weights.name)}: {weights}"
        return Description(self._order.model_id, weights, self.dtype, self.how())

    def how(self) -> str:
        """See `Description.how`."""
        return ""

    def render(self, messages: Sequence[Message]) -> str:
        assert self.tokenizer is not None
        text: str = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
        return text

    def document(self, text: str) -> str:
        return pairs.document(self.tokenizer, text)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.tokens(texts)]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        assert self.tokenizer is not None
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def folder_dtype(self) -> str:
        """The dtype that the folder's weights have."""
        return str(self._config.get("dtype") or self._config.get("torch_dtype") or "float32")


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text())
    except ValueError as exc:
        raise EngineError(f"{folder / 'config.json'} is not JSON: {exc}") from None
    inner = found.get("text_config", {})  # models of text and pictures nest it
    return {**found, **inner}
