"""A reward model: a sequence classifier with one output, which reads the chat with the answer in it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remote_agent import models
from remote_agent.protocol import RerankSpec
from remote_agent.reranking.base import Candidate, RerankError

log = logging.getLogger("rerank")

HEAD = 1 << 20


class RewardModel:
    """A model folder, loaded by transformers as `AutoModelForSequenceClassification`."""

    def __init__(self, spec: RerankSpec) -> None:
        assert spec.model is not None
        self._name = spec.name
        self._wanted = spec.model
        self._folder: Any = None
        self._tokenizer: Any = None
        self._model: Any = None
        self._device: Any = None
        self._pad: int | None = None

    def prepare(self) -> str:
        from transformers import AutoConfig, AutoTokenizer

        try:
            self._folder = models.resolve(self._wanted)
            config = AutoConfig.from_pretrained(self._folder)
            self._tokenizer = AutoTokenizer.from_pretrained(self._folder)
        except (models.ModelUnavailable, OSError, ValueError) as exc:
            raise RerankError(f"the reward model {self._wanted} cannot be had: {_first(exc)}") from exc
        if config.num_labels != 1:
            raise RerankError(
                f"{self._wanted} has {config.num_labels} outputs, a reward model has one. Next: name another "
                "one, or write a function that weighs them (`by: module`)"
            )
        source = models.source_of(self._folder)
        return f"{self._wanted} from {source.get('from', 'its folder')} {_fingerprint(self._folder)}"

    def load(self) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = "auto" if self._device.type == "cuda" else torch.float32
        try:
            model, said = AutoModelForSequenceClassification.from_pretrained(
                self._folder, dtype=dtype, output_loading_info=True
            )
        except (OSError, ValueError, KeyError) as exc:
            raise RerankError(f"the reward model {self._wanted} cannot be loaded: {_first(exc)}") from exc
        if missing := sorted(said["missing_keys"]):
            # A language model loads as a classifier, with a head that nobody has trained.
            raise RerankError(
                f"{self._wanted} has no trained weights for {', '.join(missing)}: it is no reward model"
            )
        self._model = model.to(self._device).eval()
        self._pad = model.config.get_text_config().pad_token_id

    def score(self, candidates: Sequence[Candidate]) -> list[float]:
        import torch

        rows = [self._tokens(candidate) for candidate in candidates]
        pad, width = self._padding(rows), max(map(len, rows))
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=self._device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self._device)
        with torch.inference_mode():
            scores: list[float] = self._model(ids, attention_mask=mask).logits[:, 0].float().tolist()
        return scores

    def _padding(self, rows: list[list[int]]) -> int:
        """The model's own pad token. Where it has none, a token that no row holds: the score is taken at the
        last token that is not padding, and the end of the turn must not pass for that."""
        if self._pad is not None:
            return int(self._pad)
        used = set().union(*rows)
        pad = next(token for token in range(len(used) + 1) if token not in used)
        self._model.config.get_text_config().pad_token_id = pad
        return pad

    def _tokens(self, candidate: Candidate) -> list[int]:
        """The chat with the answer as the last turn; without a chat template, the two texts in a row."""
        asked = candidate.context
        if isinstance(asked, list) and self._tokenizer.chat_template:
            chat = [*asked, {"role": "assistant", "content": candidate.completion}]
            text = self._tokenizer.apply_chat_template(chat, tokenize=False)
            ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            return ids
        before = asked if isinstance(asked, str) else "\n\n".join(turn["content"] for turn in asked)
        plain: list[int] = self._tokenizer(f"{before}\n{candidate.completion}")["input_ids"]
        return plain


def _fingerprint(folder: Path) -> str:
    """A hash of the folder's files: their names, sizes and first bytes. Whole weights would take minutes."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".json", ".safetensors", ".bin"):
            digest.update(f"{path.name} {path.stat().st_size} ".encode())
            with path.open("rb") as file:
                digest.update(file.read(HEAD))
    return digest.hexdigest()[:16]


def _first(exc: Exception) -> str:
    return str(exc).splitlines()[0] if str(exc) else type(exc).__name__
