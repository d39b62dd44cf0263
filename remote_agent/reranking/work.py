"""Scoring a run's answers: each reranker in turn, each batch of scores durable before the next is computed.

What stands in the journal is not scored again; a reranker that is another one than before ends the run, since
scores of two do not mix.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from remote_agent.evaluation import PatientWriter
from remote_agent.journal import Record, decode
from remote_agent.protocol import Check, Order, Reranking, RerankSpec, Scored
from remote_agent.reranking import reranker
from remote_agent.reranking.base import Candidate, Reranker, RerankError
from remote_agent.tasks.base import Sample, Task

log = logging.getLogger("rerank")


def prepared(order: Order) -> Iterator[Check]:
    """A check a reranker, before GPU time is spent on the answers that it would have to score."""
    for spec in order.rerank:
        try:
            what = reranker(spec).prepare()
        except RerankError as exc:
            yield Check(name=f"reranker {spec.name}", status="fail", message=f"{exc}.")
        else:
            yield Check(name=f"reranker {spec.name}", status="ok", message=f"{what}.")


class Scoring:
    """The rerankers of one run. `samples` go by their ids."""

    def __init__(
        self, order: Order, task: Task, samples: Mapping[str, Sample], journal: Path, writer: PatientWriter
    ) -> None:
        self._order = order
        self._task = task
        self._samples = samples
        self._writer = writer
        self._candidates: list[Candidate] = []
        self._scored: set[tuple[str, int, str]] = set()
        self._identities: dict[str, str] = {}
        for record in _records(journal):
            self._take(record)

    def left(self) -> int:
        """Scores that are still to be computed."""
        return len(self._candidates) * len(self._order.rerank) - len(self._scored)

    def run(self) -> None:
        """Score what is missing. Raises RerankError; what was recorded stays."""
        for spec in self._order.rerank:
            todo = [c for c in self._candidates if (c.sample, c.candidate, spec.name) not in self._scored]
            if todo:
                self._score(spec, todo)

    def _score(self, spec: RerankSpec, todo: Sequence[Candidate]) -> None:
        scorer = self._ready(spec)
        log.info("%s: %d answers to score", spec.name, len(todo))
        for at in range(0, len(todo), spec.batch_size):
            batch = todo[at : at + spec.batch_size]
            scores = scorer.score(batch)
            self._writer.write(*(self._record(spec, c, s) for c, s in zip(batch, scores, strict=True)))

    def _ready(self, spec: RerankSpec) -> Reranker:
        scorer = reranker(spec)
        identity = scorer.prepare()
        before = self._identities.get(spec.name, identity)
        if before != identity:
            raise RerankError(
                f"the reranker {spec.name} is not the one that has begun to score (now {identity}; before "
                f"{before}). Next: restore it, or start a new run"
            )
        scorer.load()
        if spec.name not in self._identities:
            self._writer.write(Reranking(reranker=spec.name, identity=identity))
        return scorer

    def _record(self, spec: RerankSpec, candidate: Candidate, score: float) -> Scored:
        if not math.isfinite(score):
            place = f"answer {candidate.candidate} of {candidate.sample}"
            raise RerankError(f"the reranker {spec.name} gave {score} for {place}; scores must be finite")
        return Scored(
            task=self._task.name,
            sample=candidate.sample,
            candidate=candidate.candidate,
            reranker=spec.name,
            score=score,
        )

    def _take(self, record: Record) -> None:
        if record["kind"] == "result":
            sample = self._samples[record["sample"]]
            self._candidates.append(
                Candidate(
                    sample=sample.id,
                    candidate=record["candidate"],
                    context=self._task.context(sample, self._order.task),
                    completion=record["completion"],
                    tokens=record["tokens_out"],
                    logprob=record.get("logprob"),
                )
            )
        elif record["kind"] == "scored":
            self._scored.add((record["sample"], record["candidate"], record["reranker"]))
        elif record["kind"] == "reranking":
            self._identities[record["reranker"]] = record["identity"]


def _records(journal: Path) -> Iterator[Record]:
    """The run's own journal, whose tail was settled when it was opened."""
    with journal.open("rb") as file:
        for line in file:
            yield decode(line)
