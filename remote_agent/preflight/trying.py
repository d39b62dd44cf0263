"""The dry batch: the longest prompts go through the loaded model once, before anything is recorded."""

from __future__ import annotations

import logging
import math
import time

from remote_agent.engines.base import Engine, EngineBroken, ScoreRequest
from remote_agent.preflight.common import Prompts, check
from remote_agent.protocol import Check

log = logging.getLogger("preflight")

TRIED = 4
"""Prompts in the dry batch: the longest ones, where memory runs out and half precision overflows first."""
CONTINUATION = " the"


def dry_batch(engine: Engine, rendered: Prompts) -> Check:
    """Score one word after each of the longest prompts: it must fit, and be finite."""
    longest = sorted(range(len(rendered.lengths)), key=lambda i: -rendered.lengths[i])[:TRIED]
    requests = [ScoreRequest(rendered.samples[i].id, rendered.texts[i], (CONTINUATION,)) for i in longest]
    started = time.monotonic()
    try:
        scores = [score.logprob for row in engine.score(requests) for score in row]
    except EngineBroken:
        raise
    except Exception as exc:
        # Whatever a model's code raises for the longest prompts, it would raise in the run as well.
        log.exception("the dry batch failed")
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        message = f"The model fails for its longest prompts ({reason})"
        return check("dry batch", "fail", f"{message}. Next: a larger instance, or shorter prompts.")
    if not all(map(math.isfinite, scores)):
        bad = next(s for s, score in zip(longest, scores, strict=True) if not math.isfinite(score))
        message = f"The model gives no finite probability after {rendered.samples[bad].id}"
        fix = "another dtype (float16 overflows), or whole weights"
        return check("dry batch", "fail", f"{message}. Next: {fix}.")
    seconds = time.monotonic() - started
    count = sum(rendered.lengths[i] for i in longest)
    took = f"took {seconds:.1f} s"
    return check("dry batch", "ok", f"The {len(longest)} longest prompts ({count} tokens) {took}.")
