"""The transformers engine: a causal language model with its own chat template, on a GPU or on the CPU.

Prompts are padded on the left, and tokenized without adding special tokens, because the template has written
them already. Sampling draws from one random generator a row, so that a result does not depend on what
happens to share its batch.
"""

from __future__ import annotations

import copy
import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
)
from transformers.utils import logging as transformers_logging

from remote_agent import models
from remote_agent.engines.base import Completion, Description, EngineBroken, EngineError, Message, Prompt
from remote_agent.protocol import Order

log = logging.getLogger("engine")

SHARED_TOKENS = 16
"""A common beginning shorter than this is not worth being kept apart."""


class TransformersEngine:
    """A model folder, loaded by transformers."""

    tokenizer: Any | None = None
    context_window: int | None = None
    embedding_rows: int | None = None
    weight_bytes: int | None = None
    free_bytes: int | None = None

    def __init__(self, order: Order) -> None:
        self._order = order
        self._fits: int | None = None  # prompts at once, known after running out of memory
        self._folder = Path()
        self._model: Any = None
        self._shared: list[int] = []  # tokens that all prompts of the run begin with
        self._shared_cache: Any = None
        self._dtype = torch.float32
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        if order.engine.threads:
            torch.set_num_threads(order.engine.threads)

    def prepare(self) -> None:
        self._folder = models.resolve(self._order.model, self._order.revision)
        config = _read_config(self._folder)
        self._dtype = self._wanted_dtype(config)
        self.context_window = config.get("max_position_embeddings")
        self.embedding_rows = config.get("vocab_size")
        parameters = models.parameter_count(self._folder)
        self.weight_bytes = parameters * self._dtype.itemsize if parameters else None
        on_gpu = self._device.type == "cuda"
        self.free_bytes = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(self._folder)
        except (OSError, ValueError) as exc:
            raise EngineError(f"no tokenizer in {self._folder}: {str(exc).splitlines()[0]}") from exc
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def load(self) -> None:
        try:
            model = AutoModelForCausalLM.from_pretrained(self._folder, dtype=self._dtype)
        except (OSError, ValueError, KeyError) as exc:
            raise EngineError(f"{self._folder} cannot be loaded: {str(exc).splitlines()[0]}") from exc
        self._model = model.to(self._device).eval()
        log.info("%s loaded in %s on %s", self._folder.name, _name(self._dtype), self._device)

    def describe(self) -> Description:
        source = models.source_of(self._folder)
        file = f" ({source['file']})" if "file" in source else ""
        weights = f"{source.get('from', self._folder)}{file}"
        return Description(self._order.model_id, weights, _name(self._dtype))

    def render(self, messages: Sequence[Message]) -> str:
        assert self.tokenizer is not None
        text: str = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
        return text

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        assert self.tokenizer is not None
        return [len(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def expect(self, texts: Sequence[str]) -> None:
        assert self.tokenizer is not None
        rows = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        # Each row keeps its last token to itself: the model has to see one to go on from.
        columns = zip(*(row[:-1] for row in rows), strict=False)
        shared = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
        if shared >= SHARED_TOKENS and _attends_to_all(self._model):
            self._shared = rows[0][:shared]
            log.info("the first %d tokens of all prompts are computed once", shared)

    def generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        done: list[Completion] = []
        while len(done) < len(prompts):
            size = min(self._fits or len(prompts), len(prompts) - len(done))
            part = self._generate_if_it_fits(prompts[len(done) : len(done) + size])
            if part is not None:
                done += part
                continue
            if size == 1:
                raise RuntimeError("out of memory for a single prompt")
            self._fits = size // 2
            log.warning("out of memory with %d prompts at once; going on with %d", size, self._fits)
        return done

    def _generate_if_it_fits(self, prompts: Sequence[Prompt]) -> list[Completion] | None:
        try:
            return self._generate(prompts)
        except RuntimeError as exc:  # torch.OutOfMemoryError is one as well
            if not isinstance(exc, torch.OutOfMemoryError) and "out of memory" not in str(exc).lower():
                if "CUDA error" in str(exc):  # every later call in this process would fail as well
                    raise EngineBroken(str(exc).splitlines()[0]) from exc
                raise
        # Out here the exception, and with it the tensors of its frames, is gone.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _generate(self, prompts: Sequence[Prompt]) -> list[Completion]:
        assert self.tokenizer is not None
        rows = self.tokenizer([p.text for p in prompts], add_special_tokens=False)["input_ids"]
        inputs, lengths = self._padded(rows)
        ends = self._end_tokens()
        settings = GenerationConfig(
            max_new_tokens=self._order.generate.max_tokens,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        temperature = self._order.generate.temperature
        sampling = (
            [SeededSampling([p.seed for p in prompts], temperature, self._device)] if temperature else []
        )
        with torch.inference_mode():
            if self._shared:
                inputs["past_key_values"] = self._shared_start(len(prompts))
            out = self._model.generate(**inputs, generation_config=settings, logits_processor=sampling)
        answers = out[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._completion(row, ends, n) for row, n in zip(answers, lengths, strict=True)]

    def _padded(self, rows: list[list[int]]) -> tuple[dict[str, Any], list[int]]:
        """Model inputs with the padding on the left, after what all rows share; and each row's tokens."""
        assert self.tokenizer is not None
        shared, width = len(self._shared), max(map(len, rows))
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            own = len(tokens) - shared
            for start, part in ((0, tokens[:shared]), (width - own, tokens[shared:])):
                ids[row, start : start + len(part)] = torch.tensor(part, dtype=ids.dtype)
                mask[row, start : start + len(part)] = 1
        inputs = {"input_ids": ids.to(self._device), "attention_mask": mask.to(self._device)}
        return inputs, [len(tokens) for tokens in rows]

    def _shared_start(self, rows: int) -> Any:
        """Keys and values of the shared tokens for a batch of `rows`; computed once a run."""
        if self._shared_cache is None:
            cache = DynamicCache(config=self._model.config)
            ids = torch.tensor([self._shared], device=self._device)
            self._shared_cache = self._model(ids, past_key_values=cache, use_cache=True).past_key_values
        start = copy.deepcopy(self._shared_cache)
        start.batch_repeat_interleave(rows)
        return start

    def _completion(self, row: list[int], ends: list[int], tokens_in: int) -> Completion:
        assert self.tokenizer is not None
        stop = next((at for at, token in enumerate(row) if token in ends), None)
        kept = row if stop is None else row[:stop]
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        return Completion(text, tokens_in, len(kept), "length" if stop is None else "stop")

    def _end_tokens(self) -> list[int]:
        """The tokens that end an answer: the model's own and the one that its chat template writes."""
        assert self.tokenizer is not None
        ends = self._model.generation_config.eos_token_id
        own = ends if isinstance(ends, list) else [ends]
        return sorted({token for token in [*own, self.tokenizer.eos_token_id] if token is not None})

    def _wanted_dtype(self, config: dict[str, Any]) -> torch.dtype:
        """The ordered dtype; `auto` is that of the folder's weights on a GPU, and float32 on the CPU, where
        half precision is many times slower unless the processor has instructions for it."""
        name = self._order.engine.dtype
        if name == "auto" and self._device.type == "cpu":
            name = "float32"
        if name == "auto":
            name = config.get("dtype") or config.get("torch_dtype") or "float32"
        dtype: torch.dtype = getattr(torch, name)
        return dtype


class SeededSampling(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Turns greedy search into sampling, with one generator a row.

    The argmax of logits / temperature + Gumbel noise is a draw from the softmax (the Gumbel-max trick).
    """

    def __init__(self, seeds: Sequence[int], temperature: float, device: torch.device) -> None:
        self._generators = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.float() / self._temperature
        for row, generator in enumerate(self._generators):
            noise = torch.empty_like(scores[row]).exponential_(generator=generator)
            scores[row] -= noise.log()
        return scores


def _attends_to_all(model: Any) -> bool:
    """Whether each layer keeps the keys and values of all tokens, so that a beginning can be shared."""
    kinds = getattr(model.config, "layer_types", None) or ["full_attention"]
    windowed = getattr(model.config, "sliding_window", None)
    return set(kinds) == {"full_attention"} and not windowed and not getattr(model, "_is_stateful", False)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text())
    except ValueError as exc:
        raise EngineError(f"{folder / 'config.json'} is not JSON: {exc}") from None
    inner = found.get("text_config", {})  # models of text and pictures nest it
    return {**found, **inner}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
