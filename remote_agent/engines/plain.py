"""Answers by transformers' own generation loop, for models that the slots of `decoding.py` do not suit.

Such models have sliding windows, states instead of keys, or attention that takes no mask of one's own.
Prompts are padded on the left; a batch runs until its last row ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from transformers import GenerationConfig, LogitsProcessor

from remote_agent.engines.decoding import Job, first_stop
from remote_agent.engines.sampling import Sampling


def generate(
    model: Any, tokenizer: Any, jobs: Sequence[Job], ends: list[int], sampling: Sampling, max_tokens: int
) -> None:
    """Answer all jobs in one batch."""
    ids, mask = _padded(tokenizer.pad_token_id, [job.tokens for job in jobs])
    settings = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
    drawing = _Drawing(jobs, sampling, ids.shape[1])
    stops = sorted({stop for job in jobs for stop in job.stop})
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=settings,
            logits_processor=[drawing],
            **({"stop_strings": stops, "tokenizer": tokenizer} if stops else {}),
        )
    drawing.note_last(out)
    for job, row, logprobs in zip(jobs, out[:, ids.shape[1] :].tolist(), drawing.logprobs, strict=True):
        end = next((at for at, token in enumerate(row) if token in ends), None)
        job.answer = row if end is None else row[:end]
        job.logprob = sum(logprobs[: len(row) if end is None else end + 1])
        text = tokenizer.decode(job.answer, skip_special_tokens=True)
        job.finish = "length" if end is None and first_stop(text, job.stop) is None else "stop"


class _Drawing(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Draws each row's token itself and leaves greedy search no other choice; notes how likely it was."""

    def __init__(self, jobs: Sequence[Job], sampling: Sampling, width: int) -> None:
        self._generators = [job.generator for job in jobs]
        self._sampling = sampling
        self._width = width
        self._before: torch.Tensor | None = None
        self.logprobs: list[list[float]] = [[] for _ in jobs]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.note_last(input_ids)
        logits = scores.float()
        self._before = F.log_softmax(logits, dim=-1)
        tokens = self._sampling.draw(logits, self._generators)
        return torch.full_like(logits, float("-inf")).scatter(1, tokens[:, None], 0.0)

    def note_last(self, input_ids: torch.Tensor) -> None:
        """How likely the newest tokens were, by the logits that they were drawn from."""
        if self._before is None:
            return
        picked = self._before.gather(1, input_ids[:, -1:])[:, 0].tolist()
        for row, logprob in zip(self.logprobs, picked, strict=True):
            row.append(logprob)
        self._before = None


def _padded(pad: int, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
