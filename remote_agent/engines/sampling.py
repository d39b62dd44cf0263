"""How the next token is drawn: greedily, or by chance with one generator a prompt.

A prompt's generator is seeded with its own seed and advances by one draw a token, so that an answer does not
depend on what happens to share its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from remote_agent.protocol import GenerateSpec


@dataclass(frozen=True, slots=True)
class Sampling:
    """Temperature 0 is greedy. `top_k` 0 and `top_p` 1 leave all tokens in."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    @classmethod
    def of(cls, spec: GenerateSpec) -> Sampling:
        return cls(spec.temperature, spec.top_k, spec.top_p)

    def draw(self, logits: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """The next token of each row of `logits` (rows × vocabulary, float32).

        The argmax of logits / temperature + Gumbel noise is a draw from the softmax (the Gumbel-max trick).
        """
        if not self.temperature:
            return logits.argmax(dim=-1)
        scores = self.narrowed(logits / self.temperature)
        for row, generator in enumerate(generators):
            noise = torch.empty_like(scores[row]).exponential_(generator=generator)
            scores[row] -= noise.log()
        return scores.argmax(dim=-1)

    def narrowed(self, scores: torch.Tensor) -> torch.Tensor:
        """`scores` with minus infinity for the tokens that `top_k`, then `top_p` leave out."""
        if 0 < self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < least, float("-inf"))
        if self.top_p < 1.0:
            ordered, index = scores.sort(dim=-1, descending=True)
            before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
            # A token stays if those that are likelier do not reach `top_p` yet: the likeliest always does.
            out = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, index, before >= self.top_p)
            scores = scores.masked_fill(out, float("-inf"))
        return scores


def generators(seeds: Sequence[int], device: torch.device) -> list[torch.Generator]:
    return [torch.Generator(device=device).manual_seed(seed) for seed in seeds]
