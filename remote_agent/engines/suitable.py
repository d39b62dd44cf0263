"""Whether a transformers model can be given masks and positions of our own: asked of its settings, then
tried.

Packed rows and slots rest on that. A model that overlooks a mask (some take only padding, some know distance
instead of positions) would score wrongly without a word, so each model is tried on a few tokens when loaded.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from remote_agent.engines.decoding import Decoder, Job
from remote_agent.engines.memory import Fitting
from remote_agent.engines.pairs import Encoded
from remote_agent.engines.sampling import Sampling
from remote_agent.engines.scoring import Scorer

log = logging.getLogger("engine")

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
"""Nats by which packed and plain scores may differ; half precision rounds more."""
HALF_TOLERANCE = 0.75


def takes_masks(model: Any) -> bool:
    """Whether packed scoring and decoding in slots give what the plain ways give."""
    if not _attends_to_all(model) or model.config._attn_implementation not in ("sdpa", "eager"):
        return False
    try:
        return _packs(model) and _decodes(model)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as exc:
        log.warning("packed computing does not suit this model: %s", str(exc).splitlines()[:1])
        return False


def _attends_to_all(model: Any) -> bool:
    """Whether each layer keeps the keys and values of all tokens."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    windowed = getattr(config, "sliding_window", None)
    return set(kinds) == {"full_attention"} and not windowed and not getattr(model, "_is_stateful", False)


def _token_rows(model: Any) -> list[list[int]]:
    """Rows of tokens without a meaning, the same each time."""
    size = model.config.get_text_config().vocab_size
    return [[(7 + 31 * row + 97 * at * at) % size for at in range(5 + row)] for row in range(4)]


def _packs(model: Any) -> bool:
    first, second, third, fourth = _token_rows(model)
    requests = [Encoded(first, [second, third]), Encoded(fourth, [first, second])]
    kept = Fitting(None, lambda: None)
    ways = [Scorer(model, kept, packed, pad=0).score(requests) for packed in (True, False)]
    packed, apart = ([score.logprob for scores in way for score in scores] for way in ways)
    tolerance = TOLERANCE.get(model.dtype, HALF_TOLERANCE)
    return all(abs(a - b) <= tolerance for a, b in zip(packed, apart, strict=True))


def _decodes(model: Any) -> bool:
    """Two answers of two tokens, drawn in slots, against the likelihood that plain scoring gives them."""
    rows = _token_rows(model)[:3]
    ended: list[Job] = []
    generator = torch.Generator(device=model.device)
    decoder = Decoder(model, 2, 16, [], Sampling(), 2, lambda _: "")
    decoder.run([Job(n, row, generator) for n, row in enumerate(rows)], ended.append, lambda _: None)
    plain = Scorer(model, Fitting(None, lambda: None), packed=False, pad=0)
    tolerance = TOLERANCE.get(model.dtype, HALF_TOLERANCE)
    found = plain.score([Encoded(job.tokens, [job.answer]) for job in ended])
    pairs = zip(ended, found, strict=True)
    return all(abs(job.logprob - score.logprob) <= tolerance for job, (score,) in pairs)
