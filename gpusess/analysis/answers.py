"""A run's answers as columns: what comparing, best of N and reports need of a million results, and no more.

They are made of frames, which hold no long texts; samples are numbered by an index that several runs share,
so that pairing two runs is walking two arrays. No files are read here.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import compress, count
from math import isnan, nan
from typing import Any

from gpusess.analysis.intervals import wilson
from gpusess.analysis.resampling import bootstrap_of
from gpusess.analysis.result_frame import Frame, Kind


class SampleIndex:
    """Sample ids and their numbers, shared by the runs that are compared."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, sample: str) -> int:
        return self.numbers.setdefault(sample, len(self.numbers))

    def names(self) -> list[str]:
        """Names by number."""
        return list(self.numbers)


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
        """64 bits that tell the first answer's prompt from others, by sample."""
        self.golds = array("q")
        """The same of the right answer."""
        self.kinds: Counter[Kind] = Counter()
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
        return sum(
            n for kind, n in self.kinds.items() if all(getattr(kind, k) == v for k, v in wanted.items())
        )

    def tally(self, field: str) -> dict[str, tuple[int, int]]:
        """(right, graded) for each value of a field of `Kind`."""
        found: dict[str, tuple[int, int]] = {}
        for kind, number in self.kinds.items():
            name = str(getattr(kind, field) or "")
            right, graded = found.get(name, (0, 0))
            found[name] = right + number * (kind.verdict == "right"), graded + number
        return found

    @property
    def marked(self) -> int:
        """Results with something uncertain about their reading."""
        return sum(number for kind, number in self.kinds.items() if kind.marks)

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

    def take(self, frame: Frame) -> None:
        """Take the next stretch of the run's results and scores."""
        verdicts = [kind.verdict for kind in frame.kinds]
        codes = frame.ints("kind")
        failed = verdicts.index("failed") if "failed" in verdicts else None
        kept = None if failed is None else [verdicts[code] != "failed" for code in codes]
        self._count_kinds(frame, codes)
        self.tokens_in += sum(_chosen(frame.ints("tokens_in"), kept))
        self.tokens_out += sum(_chosen(frame.ints("tokens_out"), kept))
        if times := _chosen(frame.floats("ts"), kept):
            self.first = times[0] if self.first is None else self.first
            self.last = times[-1]
        is_right = bytes(verdict == "right" for verdict in verdicts)
        rights = [is_right[code] for code in _chosen(codes, kept)]
        self.order.extend(rights)
        ats = self._places(_chosen(frame.texts("sample"), kept))
        if self.several:
            rows = zip(
                ats,
                _chosen(frame.ints("candidate"), kept),
                rights,
                _chosen(frame.texts("extracted"), kept),
                strict=True,
            )
            for at, candidate, right, extracted in rows:
                self.candidates.setdefault(at, []).append((candidate, bool(right), extracted))
        self._count(
            ats, rights, _chosen(frame.ints("prompt_print"), kept), _chosen(frame.ints("gold_print"), kept)
        )
        for name in frame.metrics:
            self._take_metric(name, ats, _chosen(frame.floats(f"metric {name}"), kept))
        self._take_scores(frame)

    def _count_kinds(self, frame: Frame, codes: array[int]) -> None:
        for code, number in Counter(codes).items():
            kind = frame.kinds[code]
            if kind.verdict == "failed":
                self.failed += number
            else:
                self.kinds[kind] += number

    def _places(self, names: list[str]) -> list[int]:
        """The samples' numbers, and room for them."""
        if not names:
            return []
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

    def _count(self, ats: list[int], rights: list[int], prompts: Sequence[int], golds: Sequence[int]) -> None:
        graded, right = self.graded, self.right
        for at, is_right, prompt, gold in zip(ats, rights, prompts, golds, strict=True):
            if graded[at]:
                graded[at] += 1
                right[at] += is_right
            else:
                graded[at], right[at], self.prompts[at], self.golds[at] = 1, is_right, prompt, gold

    def _take_metric(self, name: str, ats: list[int], values: Sequence[float]) -> None:
        column = self.metrics.get(name)
        if column is None:
            column = self.metrics[name] = array("d", [nan]) * len(self.graded)
            self._metric_answers[name] = Counter()
        counts = self._metric_answers[name]
        for at, value in zip(ats, values, strict=True):
            if isnan(value):
                continue
            answers = counts[at]
            column[at] = value if not answers else (column[at] * answers + value) / (answers + 1)
            if self.several:
                counts[at] += 1

    def _take_scores(self, frame: Frame) -> None:
        values = frame.floats("score")
        if not values:
            return
        rows = zip(
            frame.texts("score_reranker"),
            frame.texts("score_sample"),
            frame.ints("score_candidate", len(values)),
            values,
            strict=True,
        )
        for reranker, sample, candidate, score in rows:
            self.scores.setdefault(reranker, {})[self.index.number(sample), candidate] = score

    def _grow(self, size: int) -> None:
        """Room for `size` samples, made in steps: an index may be ahead of this run."""
        more = max(size, len(self.index.numbers)) + len(self.graded) // 2 - len(self.graded)
        for column in (self.graded, self.right, self.prompts, self.golds):
            column.frombytes(bytes(column.itemsize * more))
        for metric in self.metrics.values():
            metric.extend([nan] * more)


def _chosen(values: Any, kept: list[bool] | None) -> Any:
    """The values that are kept; all of them where nothing is left out."""
    return values if kept is None else list(compress(values, kept))
