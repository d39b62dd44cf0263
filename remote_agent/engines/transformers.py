"""The transformers engine: a causal language model with its own chat template, on a GPU or on the CPU.

Here the model is loaded, and what fits its memory is found by trying. How answers are drawn is in
`decoding.py` (`plain.py` for models that do not suit it), how continuations are scored in `scoring.py`.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM

from remote_agent.engines import pairs, plain
from remote_agent.engines.adapting import Wardrobe
from remote_agent.engines.base import Completion, Engine, EngineError, Prompt, Score, ScoreRequest
from remote_agent.engines.decoding import Decoder, Job, first_stop
from remote_agent.engines.local_model import LocalModel
from remote_agent.engines.memory import Fitting
from remote_agent.engines.packed_linear import pack_linears
from remote_agent.engines.sampling import Sampling, generators
from remote_agent.engines.scoring import Scorer
from remote_agent.engines.suitable import takes_masks
from remote_agent.protocol import Order

log = logging.getLogger("engine")

SHARED_TOKENS = 16
"""A common beginning shorter than this is not worth being kept apart."""
AUTO_CPU, AUTO_GPU = 32, 128
"""Answers at once where the order leaves it to the engine. More gain little: the weights' share is small."""
MEMORY_SHARE = 0.6
"""The share of the free memory that keys and values may take."""


class TransformersEngine(LocalModel):
    """A model folder, loaded by transformers."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._model: Any = None
        self._suits = False  # the model takes masks and positions of our own
        self._wardrobe: Wardrobe | None = None
        # Its weights were laid out for drawing answers. Adapters go on the plain layout alone, and all of a
        # sweep are computed alike.
        self._packed = order.sweep is not None
        self._shared = 0  # tokens that all prompts of the run begin with
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch = 512 if self._device.type == "cuda" else 64
        size = order.engine.batch_size
        self._generating = Fitting(None if size == "auto" else size, self._release)
        self._scoring = Fitting(None, self._release)
        if order.engine.threads:
            torch.set_num_threads(order.engine.threads)

    def load(self) -> None:
        try:
            model = AutoModelForCausalLM.from_pretrained(self.weights, dtype=getattr(torch, self.dtype))
        except (OSError, ValueError, KeyError) as exc:
            raise EngineError(f"{self.weights} cannot be loaded: {str(exc).splitlines()[0]}") from exc
        self._wardrobe = Wardrobe(model.to(self._device).eval())
        log.info("%s loaded in %s on %s", self.weights.name, self.dtype, self._device)
        self._wear()

    def take_over(self, other: Engine) -> bool:
        if not isinstance(other, TransformersEngine) or other._wardrobe is None:
            return False
        if (other.weights, other.dtype) != (self.weights, self.dtype):
            return False
        self._wardrobe, other._wardrobe, other._model = other._wardrobe, None, None
        self._wear()
        return True

    def _wear(self) -> None:
        """Put the adapter on, if there is one, and see how this model can be computed."""
        assert self._wardrobe is not None
        self._wardrobe.wear(self.adapter)
        self._model = self._wardrobe.model
        if self.adapter is not None:
            log.info("it wears the adapter %s", self.adapter)
        self._suits = takes_masks(self._model)
        if not self._suits:
            log.warning("this model takes no attention mask of our own; it is computed the plain way")

    def adopt(self, model: Any) -> None:
        """Work with a model that somebody else holds, and goes on training; `prepare()` came before."""
        if model is self._model:
            return
        self._model = model
        self._device = next(model.parameters()).device
        self._suits = takes_masks(model)
        self._packed = True  # packing would take the weights away from who trains them

    def how(self) -> str:
        return "" if self._suits or self._model is None else "plain attention, nothing shared"

    def expect(self, texts: Sequence[str]) -> None:
        rows = self.tokens(texts)
        # Each row keeps its last token to itself: the model has to see one to go on from.
        columns = zip(*(row[:-1] for row in rows), strict=False)
        shared = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
        if shared >= SHARED_TOKENS and self._suits:
            self._shared = shared
            log.info("the first %d tokens of all prompts are computed once", shared)

    def generate(
        self, prompts: Sequence[Prompt], drawn: Callable[[int, str], None] | None = None
    ) -> list[Completion]:
        """drawn: called after each token with the prompt's number and its answer so far."""
        if self._device.type == "cpu" and not self._packed:
            # Not for scoring: it rounds otherwise, and scores are compared to the fourth digit.
            self._packed = True
            if self.adapter is None:
                pack_linears(self._model)
        rows = self.tokens([p.text for p in prompts])
        done: dict[int, Job] = {}
        while len(done) < len(prompts):
            left = [n for n in range(len(prompts)) if n not in done]
            capacity = max(map(len, rows)) + self._order.generate.max_tokens
            size = min(self._generating.most or self._estimate(capacity), len(left))
            # After running out of memory, what was under way begins anew, with generators of its own.
            fresh = generators([prompts[n].seed for n in left], self._device)
            jobs = [Job(n, rows[n], g, prompts[n].stop) for n, g in zip(left, fresh, strict=True)]
            attempt = self._in_slots if self._suits else self._plainly
            self._generating.attempt(size, lambda: attempt(jobs, size, capacity, done, drawn))  # noqa: B023
        return [self._completion(done[n]) for n in range(len(prompts))]

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[Score]]:
        assert self.tokenizer is not None
        scorer = Scorer(self._model, self._scoring, self._suits, self.tokenizer.pad_token_id)
        return scorer.score(pairs.encode(self.tokenizer, requests))

    def _in_slots(
        self,
        jobs: Sequence[Job],
        slots: int,
        capacity: int,
        done: dict[int, Job],
        drawn: Callable[[int, str], None] | None,
    ) -> None:
        decoder = Decoder(
            self._model, slots, capacity, self._end_tokens(), Sampling.of(self._order.generate),
            self._order.generate.max_tokens, self._text,
        )  # fmt: skip
        if self._shared:
            decoder.share(jobs[0].tokens[: self._shared])

        def show(job: Job) -> None:
            if drawn is not None:
                drawn(job.number, self._text(job.answer))

        decoder.run(jobs, lambda job: done.update({job.number: job}), show)

    def _plainly(
        self, jobs: Sequence[Job], size: int, _capacity: int, done: dict[int, Job], _drawn: object
    ) -> None:
        sampling, limit = Sampling.of(self._order.generate), self._order.generate.max_tokens
        for stop in sorted({job.stop for job in jobs}):  # a batch ends its rows by the same texts
            same = [job for job in jobs if job.stop == stop]
            for at in range(0, len(same), size):
                part = same[at : at + size]
                plain.generate(self._model, self.tokenizer, part, self._end_tokens(), sampling, limit)
                done.update({job.number: job for job in part})

    def _completion(self, job: Job) -> Completion:
        text = self._text(job.answer)
        cut = first_stop(text, job.stop)
        finish = job.finish or "length"
        return Completion(text[:cut], len(job.tokens), len(job.answer), finish, round(job.logprob, 5))

    def _text(self, tokens: list[int]) -> str:
        assert self.tokenizer is not None
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _estimate(self, capacity: int) -> int:
        """Answers at once whose keys and values should fit in the free memory; trying finds out."""
        config = self._config
        heads = config.get("num_attention_heads", 1)
        size = config.get("head_dim") or config.get("hidden_size", 1) // heads
        kept = config.get("num_key_value_heads", heads) * config.get("num_hidden_layers", 1)
        row = 2 * capacity * size * kept * getattr(torch, self.dtype).itemsize
        most = AUTO_GPU if self._device.type == "cuda" else AUTO_CPU
        fits = int(self.free_memory() * MEMORY_SHARE / max(1, row))
        return max(1, min(most, fits))

    def free_memory(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.mem_get_info()[0])
        return int(psutil.virtual_memory().available)

    def _release(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _end_tokens(self) -> list[int]:
        """The tokens that end an answer: the model's own and the one that its chat template writes."""
        assert self.tokenizer is not None
        ends = self._model.generation_config.eos_token_id
        own = ends if isinstance(ends, list) else [ends]
        return sorted({token for token in [*own, self.tokenizer.eos_token_id] if token is not None})

    def wanted_dtype(self) -> str:
        """The ordered dtype; `auto` is that of the folder's weights on a GPU, and float32 on the CPU, where
        half precision is many times slower unless the processor has instructions for it."""
        name = self._order.engine.dtype
        if name != "auto":
            return name
        return "float32" if self._device.type == "cpu" else self.folder_dtype()
