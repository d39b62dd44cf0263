"""A run's answers as columns: what comparing, best of N and reports need of a million results, and no more.

A result is decoded into `Slim`, which skips the long texts, and then into arrays; samples are numbered by an
index that several runs share, so that pairing two runs is walking two arrays. No files are read here.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import count
from math import nan
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import msgspec

from gpusess.analysis.intervals import wilson
from gpusess.analysis.resampling import bootstrap_of


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


class SampleIndex:
    """Sample ids and their numbers, shared by the runs that are compared."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, sample: str) -> int:
        return self.numbers.setdefault(sample, len(self.numbers))

    def names(self) -> list[str]:
        """Names by number."""
        return list(self.numbers)


_SAMPLE, _PROMPT, _GOLD = attrgetter("sample"), attrgetter("prompt_sha"), attrgetter("gold")
_TOKENS_IN, _TOKENS_OUT, _METRICS = attrgetter("tokens_in"), attrgetter("tokens_out"), attrgetter("metrics")


class Kind(NamedTuple):
    """What results are counted by."""

    verdict: str
    reason: str
    rule: str | None
    category: str
    disagree: bool
    marks: tuple[str, ...]


_KIND = attrgetter(*Kind._fields)


class Answers:
    """One run's answers. Arrays go by the sample's number; a sample without an answer has `graded` 0."""

    def __init__(self, index: SampleIndex) -> None:
        self.index = index
        self.several = False
        """Keep each answer apart: the plan has several a sample. To be set before the first result."""
        self.graded = array("H")
        """Answers with a verdict, by sample."""
        self.right = array("H")
        self.prompts = array("q")
        """Hash of the first answer's prompt, by sample. It means something in this process only."""
        self.golds = array("q")
        """Hash of the right answer, by sample."""
        self.kinds: Counter[tuple[Any, ...]] = Counter()
        """How many results are of a `Kind`."""
        self.order = bytearray()
        """1 for right and 0 for not, result by result in their order."""
        self.failed = 0
        self.tokens_in = 0
        self.tokens_out = 0
        self.first: float | None = None
        """`ts` of the first result, and of the last."""
        self.last: float | None = None
        self.metrics: dict[str, array[float]] = {}
        """Metric → its mean over the sample's answers, by sample; NaN where there is none."""
        self._metric_answers: dict[str, Counter[int]] = {}
        """Where `several`: metric → number → answers that had it."""
        self.candidates: dict[int, list[tuple[int, bool, str | None]]] = {}
        """Where `several`: number → (candidate, right, what was read)."""
        self.scores: dict[str, dict[tuple[int, int], float]] = {}
        """Reranker → (number, candidate) → score."""

    def count_of(self, **wanted: object) -> int:
        """Results whose `Kind` has these values: `count_of(verdict="right")`."""
        kinds = ((Kind(*kind), number) for kind, number in self.kinds.items())
        return sum(n for kind, n in kinds if all(getattr(kind, k) == v for k, v in wanted.items()))

    def tally(self, field: str) -> dict[str, tuple[int, int]]:
        """(right, graded) for each value of a field of `Kind`."""
        found: dict[str, tuple[int, int]] = {}
        for values, number in self.kinds.items():
            kind = Kind(*values)
            name = str(getattr(kind, field) or "")
            right, graded = found.get(name, (0, 0))
            found[name] = right + number * (kind.verdict == "right"), graded + number
        return found

    @property
    def marked(self) -> int:
        """Results with something uncertain about their reading."""
        return sum(number for kind, number in self.kinds.items() if Kind(*kind).marks)

    @property
    def total(self) -> int:
        """Results with a verdict."""
        return self.kinds.total()

    @property
    def band(self) -> tuple[float, float] | None:
        """95% interval of the accuracy; None without a verdict.

        Wilson's, or with several answers a sample, which are not independent, the bootstrap over samples.
        """
        if not self.total:
            return None
        if not self.candidates:
            return wilson(self.count_of(verdict="right"), self.total)
        return bootstrap_of([r / g for r, g in zip(self.right, self.graded, strict=True) if g])

    def accept(self, records: Sequence[Slim]) -> None:
        """Take `result`, `failed` and `scored` records in their order; others are left out."""
        results = [r for r in records if r.verdict]  # only results have one
        if len(results) < len(records):
            for r in records:
                if not r.verdict:
                    self._no_result(r)
        if not results:
            return
        if self.first is None:
            self.first = results[0].ts
        self.last = results[-1].ts
        self.kinds.update(map(_KIND, results))
        self.tokens_in += sum(map(_TOKENS_IN, results))
        self.tokens_out += sum(map(_TOKENS_OUT, results))
        rights = [r.verdict == "right" for r in results]
        self.order.extend(rights)
        ats = self._places(list(map(_SAMPLE, results)))
        if self.several:
            for at, r, is_right in zip(ats, results, rights, strict=True):
                self.candidates.setdefault(at, []).append((r.candidate, is_right, r.extracted))
        for at, r in zip(ats, results, strict=True) if any(map(_METRICS, results)) else ():
            self._take_metrics(at, r.metrics or {})
        self._count(ats, results, rights)

    def _places(self, names: list[str]) -> list[int]:
        """The samples' numbers, and room for them."""
        numbers = self.index.numbers
        try:
            ats = list(map(numbers.__getitem__, names))
        except KeyError:
            fresh = dict.fromkeys(name for name in names if name not in numbers)
            numbers.update(zip(fresh, count(len(numbers)), strict=False))
            ats = list(map(numbers.__getitem__, names))
        most = max(ats)
        if most >= len(self.graded):
            self._grow(most + 1)
        return ats

    def _count(self, ats: list[int], results: Sequence[Slim], rights: Sequence[bool]) -> None:
        """Hashes are those of this process: they are only compared within it."""
        graded, right, prompts, golds = self.graded, self.right, self.prompts, self.golds
        prompt_hashes, gold_hashes = map(hash, map(_PROMPT, results)), map(hash, map(_GOLD, results))
        for at, is_right, prompt, gold in zip(ats, rights, prompt_hashes, gold_hashes, strict=True):
            if graded[at]:
                graded[at] += 1
                right[at] += is_right
            else:
                graded[at], right[at], prompts[at], golds[at] = 1, is_right, prompt, gold

    def _no_result(self, r: Slim) -> None:
        if r.kind == "failed":
            self.failed += 1
        elif r.kind == "scored":
            self.scores.setdefault(r.reranker, {})[self.index.number(r.sample), r.candidate] = r.score

    def _take_metrics(self, at: int, found: dict[str, float]) -> None:
        for name, value in found.items():
            column = self.metrics.get(name)
            if column is None:
                column = self.metrics[name] = array("d", [nan]) * len(self.graded)
                self._metric_answers[name] = Counter()
            answers = self._metric_answers[name][at]
            column[at] = value if not answers else (column[at] * answers + value) / (answers + 1)
            if self.several:
                self._metric_answers[name][at] += 1

    def _grow(self, size: int) -> None:
        """Room for `size` samples, made in steps: an index may be ahead of this run."""
        more = max(size, len(self.index.numbers)) + len(self.graded) // 2 - len(self.graded)
        for column in (self.graded, self.right, self.prompts, self.golds):
            column.frombytes(bytes(column.itemsize * more))
        for metric in self.metrics.values():
            metric.extend([nan] * more)
