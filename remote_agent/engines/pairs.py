"""How a context and its continuations become tokens: split where the context alone would end.

The rule is that of lm-evaluation-harness 0.4.13 (`TemplateLM._encode_pair`), so that scores can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from remote_agent.engines.base import ScoreRequest


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a context (at least one) and of each continuation (at least one each)."""

    context: list[int]
    continuations: list[list[int]]

    @property
    def tokens(self) -> int:
        """Tokens that a model reads to score them all, with the context once."""
        return len(self.context) + sum(len(c) - 1 for c in self.continuations)


def document(tokenizer: Any, text: str) -> str:
    """Plain text with the begin token before it, where the tokenizer would add one and it is not there
    yet."""
    begin = tokenizer.bos_token
    adds = begin is not None and tokenizer("x")["input_ids"][:1] == [tokenizer.bos_token_id]
    return begin + text if adds and not text.startswith(begin) else text


def split_spaces(context: str, continuation: str) -> tuple[str, str]:
    """White space at the context's end belongs to the continuation: tokenizers join it to the next word."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def encode(tokenizer: Any, requests: Sequence[ScoreRequest]) -> list[Encoded]:
    """Tokens of each request, without special tokens beyond those in its text.

    An empty context becomes the begin token, else the end token, for the model has to see something. Raises
    ValueError for a continuation that has no token of its own.
    """
    contexts = [r.context.rstrip() for r in requests]
    wholes = [
        "".join(split_spaces(r.context, continuation)) for r in requests for continuation in r.continuations
    ]
    ids = tokenizer([*contexts, *wholes], add_special_tokens=False)["input_ids"]
    rest = iter(ids[len(contexts) :])
    return [
        _encoded(tokenizer, request, context, [next(rest) for _ in request.continuations])
        for request, context in zip(requests, ids, strict=False)
    ]


def _encoded(tokenizer: Any, request: ScoreRequest, context: list[int], wholes: list[list[int]]) -> Encoded:
    parts = [whole[len(context) :] for whole in wholes]
    for part, text in zip(parts, request.continuations, strict=True):
        if not part:
            raise ValueError(f"the continuation {text!r} of {request.sample} adds no token to its context")
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return Encoded(context or [begin], parts)
