"""Answers from a transformers model, several at once, each prompt in a slot of its own.

Keys and values lie in buffers that are made once and written in place, so that a step copies nothing. What
all prompts begin with is computed once. A finished answer leaves its slot at once, a waiting prompt takes it:
no step is spent on rows that are done, and no token on padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from transformers.cache_utils import Cache, CacheLayerMixin

from remote_agent.engines.sampling import Sampling

CPU_PREFILL, GPU_PREFILL = 512, 4096
"""Prompt tokens in one pass. Prompts share it behind a mask, whose cost grows with the square."""
REFILL_SHARE = 4
"""Waiting prompts come in when this part of the slots is free: a pass for each one alone would cost more."""


@dataclass(slots=True)
class Job:
    """One prompt and its answer so far. `tokens` are the prompt's; `answer` the tokens drawn, without the
    end."""

    number: int
    tokens: list[int]
    generator: torch.Generator
    stop: tuple[str, ...] = ()
    answer: list[int] = field(default_factory=list)
    logprob: float = 0.0
    last: int = 0
    """The token drawn last: the next step's input."""
    finish: Literal["stop", "length"] | None = None


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not typed
    """Keys and values of one layer: slots × heads × capacity × dimension, written where `plan` says."""

    is_sliding = False

    def __init__(self, slots: int, capacity: int, plan: _Plan) -> None:
        super().__init__()
        self._slots, self._capacity, self._plan = slots, capacity, plan
        self.shared: tuple[torch.Tensor, torch.Tensor] | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        # Zeros, for places that are masked count with the weight 0, and 0 times what memory held may be NaN.
        sizes = [(self._slots, x.shape[1], self._capacity, x.shape[3]) for x in (key_states, value_states)]
        self.keys, self.values = (key_states.new_zeros(size) for size in sizes)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the new states, and return all that this pass may attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        plan = self._plan
        if plan.step is not None:
            rows, places, width = plan.step
            self.keys[rows, :, places] = key_states[:, :, 0]
            self.values[rows, :, places] = value_states[:, :, 0]
            return self.keys[: len(rows), :, :width], self.values[: len(rows), :, :width]
        if plan.sharing:
            self.shared = (key_states, value_states)
            return key_states, value_states
        self._keep(self.keys, key_states, None if self.shared is None else self.shared[0])
        self._keep(self.values, value_states, None if self.shared is None else self.shared[1])
        if self.shared is None:
            return key_states, value_states
        return torch.cat([self.shared[0], key_states], 2), torch.cat([self.shared[1], value_states], 2)

    def _keep(self, kept: torch.Tensor, new: torch.Tensor, shared: torch.Tensor | None) -> None:
        """Put the states of each prefilled prompt into its slot, behind what all share."""
        width = 0 if shared is None else shared.shape[2]
        for slot, start, end in self._plan.spans:
            if shared is not None:
                kept[slot, :, :width] = shared[0]
            kept[slot, :, width : width + end - start] = new[0, :, start:end]

    def move(self, source: int, target: int, length: int) -> None:
        for kept in (self.keys, self.values):
            kept[target, :, :length] = kept[source, :, :length]

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self._capacity

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0


@dataclass(slots=True)
class _Plan:
    """What the pass at hand does: compute the shared beginning, prefill `spans` (slot, start, end), or one
    step (rows, their places in the cache, how far it is filled)."""

    sharing: bool = False
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    step: tuple[torch.Tensor, torch.Tensor, int] | None = None


class Decoder:
    """Works through jobs with at most `slots` at once. Made for one call; its buffers go with it."""

    def __init__(
        self,
        model: Any,
        slots: int,
        capacity: int,
        ends: Sequence[int],
        sampling: Sampling,
        max_tokens: int,
        decode: Callable[[list[int]], str],
    ) -> None:
        self._model = model
        self._slots = slots
        self._ends = frozenset(ends)
        self._sampling = sampling
        self._max_tokens = max_tokens
        self._decode = decode
        self._device = model.device
        self._budget = GPU_PREFILL if self._device.type == "cuda" else CPU_PREFILL
        self._plan = _Plan()
        layers = model.config.get_text_config().num_hidden_layers
        self._cache = Cache(layers=[_Layer(slots, capacity, self._plan) for _ in range(layers)])
        self._shared = 0
        self._active: list[Job] = []
        """The jobs in the slots 0, 1, 2 …"""

    def share(self, tokens: Sequence[int]) -> None:
        """Compute once what all prompts begin with."""
        self._plan.sharing = True
        self._forward(torch.tensor([tokens]), torch.arange(len(tokens))[None], _causal(len(tokens)), [0])
        self._plan.sharing = False
        self._shared = len(tokens)

    def run(self, jobs: Sequence[Job], done: Callable[[Job], None], drawn: Callable[[Job], None]) -> None:
        """Answer all jobs. `drawn` after each token, `done` as each job ends, in the order in which they
        end."""
        waiting = list(reversed(jobs))
        filling = True
        with torch.inference_mode():
            while waiting or self._active:
                free = self._slots - len(self._active)
                enough = min(len(waiting), max(1, self._slots // REFILL_SHARE))
                filling = bool(waiting) and free > 0 and (filling or free >= enough)
                if filling:
                    self._take(waiting, free)
                else:
                    self._step()
                for job in self._active:
                    drawn(job)
                self._leave(done)

    def _take(self, waiting: list[Job], free: int) -> None:
        """Prefill as many waiting jobs as one pass holds, and draw their first tokens."""
        taken: list[Job] = []
        room = self._budget
        while waiting and len(taken) < free:
            own = len(waiting[-1].tokens) - self._shared
            if taken and own > room:
                break
            room -= own
            taken.append(waiting.pop())
        rows = [job.tokens[self._shared :] for job in taken]
        spans, at = [], 0
        for slot, row in enumerate(rows, len(self._active)):
            spans.append((slot, at, at + len(row)))
            at += len(row)
        self._plan.spans = spans
        owner = torch.tensor([slot for slot, start, end in spans for _ in range(start, end)])
        own_mask = (owner[:, None] == owner[None, :]).tril()
        mask = torch.cat([torch.ones(at, self._shared, dtype=torch.bool), own_mask], 1)
        positions = torch.cat([torch.arange(end - start) for _, start, end in spans]) + self._shared
        ids = torch.tensor([token for row in rows for token in row])
        logits = self._forward(ids[None], positions[None], mask[None, None], [end - 1 for *_, end in spans])
        self._active += taken
        self._draw(taken, logits[0])

    def _step(self) -> None:
        """One token for each active job."""
        lengths = [len(job.tokens) + len(job.answer) - 1 for job in self._active]
        rows, places = torch.arange(len(lengths)), torch.tensor(lengths)
        width = max(lengths) + 1
        mask = torch.arange(width)[None, :] <= places[:, None]
        self._plan.step = (rows.to(self._device), places.to(self._device), width)
        ids = torch.tensor([[job.last] for job in self._active])
        logits = self._forward(ids, places[:, None], mask[:, None, None], [0])
        self._plan.step = None
        self._draw(self._active, logits[:, 0])

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, keep: list[int]
    ) -> torch.Tensor:
        logits: torch.Tensor = self._model(
            input_ids=ids.to(self._device),
            position_ids=positions.to(self._device),
            attention_mask=mask.to(self._device),
            past_key_values=self._cache,
            logits_to_keep=torch.tensor(keep, device=self._device),
            use_cache=True,
        ).logits
        return logits

    def _draw(self, jobs: Sequence[Job], logits: torch.Tensor) -> None:
        logits = logits.float()
        tokens = self._sampling.draw(logits, [job.generator for job in jobs])
        picked = F.log_softmax(logits, dim=-1).gather(1, tokens[:, None])[:, 0]
        for job, token, logprob in zip(jobs, tokens.tolist(), picked.tolist(), strict=True):
            job.logprob += logprob
            job.last = token
            if token in self._ends:
                job.finish = "stop"
                continue
            job.answer.append(token)
            if job.stop and first_stop(self._decode(job.answer), job.stop) is not None:
                job.finish = "stop"
            elif len(job.answer) == self._max_tokens:
                job.finish = "length"

    def _leave(self, done: Callable[[Job], None]) -> None:
        """Empty the slots of finished jobs; the last active ones move into them."""
        for slot in reversed(range(len(self._active))):
            job = self._active[slot]
            if job.finish is None:
                continue
            last = self._active.pop()
            if last is not job:
                length = len(last.tokens) + len(last.answer)
                for layer in self._cache.layers:
                    layer.move(len(self._active), slot, length)
                self._active[slot] = last
            done(job)


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of the stop texts begins; None where none occurs."""
    places = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return min(places, default=None)


def _causal(length: int) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()[None, None]
