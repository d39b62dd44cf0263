"""Rewards for the runs of this room, copied beside their orders: dense ones, so that a few answers of a model
that knows nothing yet differ in them.
"""

from __future__ import annotations

from typing import Any


def digits(completions: list[list[dict[str, str]]], **_fields: Any) -> list[float]:
    """The share of an answer's characters that are digits."""
    texts = ["".join(turn["content"] for turn in turns) for turns in completions]
    return [sum(c.isdigit() for c in text) / max(1, len(text)) for text in texts]
