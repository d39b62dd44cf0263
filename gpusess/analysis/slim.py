"""The short fields of a result, as a struct: a million of them are decoded without their long texts."""

from __future__ import annotations

from typing import Literal

import msgspec


class Slim(msgspec.Struct, gc=False):
    """The short fields of a `result`, `failed` or `scored` record; see `remote_agent.protocol`."""

    kind: str
    ts: float
    sample: str = ""
    candidate: int = 0
    category: str = ""
    verdict: Literal["", "right", "wrong", "no_answer"] = ""
    reason: Literal["", "parsed", "unparsed", "truncated", "empty"] = ""
    extracted: str | None = None
    rule: str | None = None
    disagree: bool = False
    gold: str = ""
    prompt_sha: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    metrics: dict[str, float] | None = None
    marks: tuple[str, ...] = ()
    reranker: str = ""
    score: float = 0.0
