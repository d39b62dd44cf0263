"""Rerankers: what scores the answers of a sample, so that the best can be picked. The registry is here."""

from __future__ import annotations

from remote_agent.protocol import RerankSpec
from remote_agent.registry import RERANKERS, load
from remote_agent.reranking.base import Reranker


def reranker(spec: RerankSpec) -> Reranker:
    """The reranker of a spec, not yet prepared. What it imports is imported when it prepares or loads."""
    made: Reranker = load(RERANKERS[spec.by])(spec)
    return made
