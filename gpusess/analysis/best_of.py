"""Best of N: what k answers a sample are worth, picked at random, by a vote, by a reranker, or by an oracle.

Three numbers stand side by side: the baseline (a random pick), the reranked accuracy and the oracle (any
right), and how much of the gap between the outer two was closed. No files are read here.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from gpusess.analysis.answers import Answers
from gpusess.analysis.intervals import wilson
from gpusess.analysis.resampling import ROUNDS, SEED, binomial, bootstrap_mean, percentiles
from remote_agent.tasks.numbers import value_of

Candidates = Sequence[tuple[int, bool, str | None]]
"""(candidate, right, what was read) of one sample."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its 95% interval, bootstrapped over samples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Reranked:
    """What one reranker picks."""

    name: str
    accuracy: Estimate
    closed: Estimate | None
    """Share of the gap between baseline and oracle that it closes; None where there is no gap."""
    samples: int
    """Samples of which every answer is scored: the numbers rest on these."""
    baseline: float
    oracle: float
    """Of the same samples."""


@dataclass(frozen=True, slots=True)
class BestOf:
    """All of a run with several answers a sample."""

    samples: int
    candidates: int
    """Answers of each sample; samples with fewer are left out."""
    left_out: int
    mean: Estimate
    majority: Estimate
    oracle: Estimate
    pass_at: dict[int, Estimate]
    """k → the unbiased chance that one of k answers is right."""
    reranked: list[Reranked]


def best_of(answers: Answers) -> BestOf | None:
    """None for a run with one answer a sample."""
    if not answers.candidates:
        return None
    k = max(len(c) for c in answers.candidates.values())
    if k < 2:
        return None
    whole = {at: c for at, c in answers.candidates.items() if len(c) == k}
    rights = Counter(sum(right for _, right, _ in c) for c in whole.values())
    return BestOf(
        samples=len(whole),
        candidates=k,
        left_out=len(answers.candidates) - len(whole),
        mean=_estimate({c / k: n for c, n in rights.items()}),
        majority=_estimate(Counter(map(vote, whole.values()))),
        oracle=_estimate(_merged((float(c > 0), n) for c, n in rights.items())),
        pass_at={j: _pass_estimate(rights, k, j) for j in _sizes(k)},
        reranked=[reranked(name, whole, scores) for name, scores in sorted(answers.scores.items())],
    )


def pass_at_k(n: int, right: int, k: int) -> float:
    """The chance that at least one of k answers drawn from n, of which `right` are right, is right.

    Source: M. Chen et al., "Evaluating large language models trained on code" (2021), arXiv:2107.03374,
    section 2.1: 1 - C(n - right, k) / C(n, k), as a product.
    """
    if n - right < k:
        return 1.0
    return 1.0 - prod(1.0 - k / i for i in range(n - right + 1, n + 1))


def vote(candidates: Candidates) -> float:
    """The chance that the answer most often read is right; ties are broken by chance, and what could not be
    read has no vote. 0 where nothing was read."""
    votes: Counter[str] = Counter()
    good: dict[str, bool] = {}
    for _, right, read in candidates:
        if read is None:
            continue
        # All right answers are one answer, however they are written, and so are equal numbers.
        name = "\0right" if right else _meaning(read)
        votes[name] += 1
        good[name] = right
    if not votes:
        return 0.0
    most = max(votes.values())
    first = [name for name, count in votes.items() if count == most]
    return sum(good[name] for name in first) / len(first)


@lru_cache(maxsize=4096)
def _meaning(read: str) -> str:
    value = value_of(read)
    return read.strip().lower() if value is None else str(value)


def reranked(
    name: str, samples: Mapping[int, Candidates], scores: Mapping[tuple[int, int], float]
) -> Reranked:
    """The accuracy of picking each sample's best-scored answer; ties are broken by chance."""
    rows: Counter[tuple[float, float, float]] = Counter()
    for at, candidates in samples.items():
        found = [(scores.get((at, candidate)), right) for candidate, right, _ in candidates]
        if any(score is None for score, _ in found):
            continue
        best = max(score for score, _ in found if score is not None)
        top = [right for score, right in found if score == best]
        rights = [right for _, right in found]
        rows[sum(rights) / len(rights), sum(top) / len(top), float(any(rights))] += 1
    n = sum(rows.values())
    mean, picked, oracle = (sum(row[i] * c for row, c in rows.items()) / n if n else 0.0 for i in range(3))
    accuracy = _estimate(_merged((row[1], c) for row, c in rows.items()))
    return Reranked(name, accuracy, _closed(rows, mean, picked, oracle), n, mean, oracle)


def _closed(
    rows: Mapping[tuple[float, float, float], int], mean: float, picked: float, oracle: float
) -> Estimate | None:
    """(picked - mean) / (oracle - mean), and its interval over resampled samples."""
    if oracle <= mean:
        return None
    rng, ordered = random.Random(SEED), sorted(rows.items())
    draws = [share for _ in range(ROUNDS) if (share := _closed_once(rng, ordered)) is not None]
    low, high = percentiles(draws) if draws else (0.0, 1.0)
    return Estimate((picked - mean) / (oracle - mean), low, high)


def _closed_once(
    rng: random.Random, ordered: Sequence[tuple[tuple[float, float, float], int]]
) -> float | None:
    left = weight = sum(count for _, count in ordered)
    gained = gap = 0.0
    for (mean, picked, oracle), count in ordered:
        drawn = left if count == weight else binomial(rng, left, count / weight)
        gained += drawn * (picked - mean)
        gap += drawn * (oracle - mean)
        left -= drawn
        weight -= count
        if left == 0:
            break
    return gained / gap if gap > 0.0 else None


def _sizes(k: int) -> list[int]:
    """1, 2, 4, … and k itself."""
    sizes = [1]
    while sizes[-1] * 2 < k:
        sizes.append(sizes[-1] * 2)
    return [*sizes, k]


def _pass_estimate(rights: Mapping[int, int], n: int, k: int) -> Estimate:
    return _estimate(_merged((pass_at_k(n, right, k), count) for right, count in rights.items()))


def _merged(pairs: Iterable[tuple[float, int]]) -> Counter[float]:
    merged: Counter[float] = Counter()
    for value, count in pairs:
        merged[value] += count
    return merged


def _estimate(values: Mapping[float, int]) -> Estimate:
    """The mean; its interval is Wilson's where each sample is 0 or 1, else bootstrapped."""
    n = sum(values.values())
    if values.keys() <= {0.0, 1.0}:
        right = values.get(1.0, 0)
        return Estimate(right / n if n else 0.0, *wilson(right, n))
    interval = bootstrap_mean(values)
    assert interval is not None
    return Estimate(sum(value * count for value, count in values.items()) / n, *interval)
