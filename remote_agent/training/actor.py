"""The model that is being trained, as a reward may ask it: how likely it finds an answer after a chat.

Rewards of this sort (the actor judges its own chains of thought) move with the weights: see docs/training.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from remote_agent.engines.base import ScoreRequest
from remote_agent.engines.transformers import TransformersEngine

Message = dict[str, str]


class Actor:
    """Answers with the weights as they are now. Nothing of the training's random numbers is used up."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine = engine
        self._model: Any = None

    def follow(self, model: Any) -> None:
        """From now on that is the model."""
        self._model = model

    def logprobs(self, chats: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[float]:
        """Of each answer after its chat: the sum over its tokens, natural logarithm. The answer follows the
        cue for the assistant's turn."""
        requests = [
            ScoreRequest(str(number), self._engine.render(chat), (answer,))
            for number, (chat, answer) in enumerate(zip(chats, answers, strict=True))
        ]
        was_training = self._model.training
        self._model.eval()
        try:
            with torch.random.fork_rng(), torch.inference_mode():
                self._engine.adopt(self._model)
                return [score.logprob for (score,) in self._engine.score(requests)]
        finally:
            self._model.train(was_training)
