"""Watching a run against what its accuracy should be: one alarm, with what may be the matter.

A pure fold over the records that the worker writes; `sequential.py` has the test. Results count batch by
batch in the order in which the batches were begun: where answers come back one by one, those that come first
are short ones, and would mislead.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from remote_agent.journal import Record
from remote_agent.protocol import Alarm, Expectation
from remote_agent.sequential import Betting

WORTH_SAYING = 0.1
"""A cause is named where it may account for that share of the results."""
Pair = tuple[str, int]


@dataclass(slots=True)
class _Unit:
    """What was begun together."""

    waiting: set[Pair]
    right: int = 0
    graded: int = 0


@dataclass(slots=True)
class Evidence:
    """What the results look like, beside being right or wrong."""

    results: int = 0
    right: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    disagree: int = 0
    unclosed: int = 0
    read: Counter[str] = field(default_factory=Counter)
    golds: Counter[str] = field(default_factory=Counter)

    def take(self, result: Record) -> None:
        self.results += 1
        self.right += result["verdict"] == "right"
        self.reasons[result["reason"]] += 1
        self.disagree += bool(result["disagree"])
        self.unclosed += "thinking not closed" in result.get("marks", ())
        if result["extracted"] is not None:
            self.read[result["extracted"]] += 1
        self.golds[result["gold"]] += 1


class Monitor:
    """Raises at most one alarm in the life of a run, over all its attempts.

    facts: structural causes that are known before the first result, in words, such as a missing template.
    """

    def __init__(self, expect: Expectation, past: Iterable[Record], facts: Iterable[str] = ()) -> None:
        self._expect = expect
        self._facts = list(facts)
        self._betting = Betting()
        self._units: OrderedDict[int, _Unit] = OrderedDict()
        self._unit_of: dict[Pair, int] = {}
        self._begun = 0
        self._evidence = Evidence()
        self._counted = 0
        self._raised = False
        self.take(past)

    def take(self, records: Iterable[Record]) -> None:
        """More records of the run's journal, in their order."""
        for record in records:
            kind = record["kind"]
            if kind == "opened":
                self._give_up(list(self._unit_of))
            elif kind == "begin":
                self._begin([(sample, candidate) for sample, candidate in record["keys"]])
            elif kind in ("result", "failed"):
                self._settle(record)
            elif kind == "alarm":
                self._raised = True
        self._count()

    def alarm(self) -> Alarm | None:
        """The alarm, where the expectation has just become impossible; None otherwise, and ever after."""
        low, high = self._expect.low, self._expect.high
        if self._raised or not (self._betting.surely_below(low) or self._betting.surely_above(high)):
            return None
        self._raised = True
        band = self._betting.band()
        return Alarm(
            message=(
                f"the accuracy is {_percent(*band)} after {self._counted} results, "
                f"expected was {_percent(low, high)}{f' ({self._expect.says})' if self._expect.says else ''}"
            ),
            expected=(low, high),
            band=band,
            results=self._counted,
            causes=causes(self._evidence, self._facts, above=band[0] > high),
            paused=self._expect.pause,
        )

    def _begin(self, keys: list[Pair]) -> None:
        self._give_up(keys)  # what is tried again counts where it was begun last
        self._begun += 1
        self._units[self._begun] = _Unit(set(keys))
        self._unit_of.update(dict.fromkeys(keys, self._begun))

    def _give_up(self, keys: list[Pair]) -> None:
        for key in keys:
            number = self._unit_of.pop(key, None)
            if number is not None:
                self._units[number].waiting.discard(key)

    def _settle(self, record: Record) -> None:
        key = (record["sample"], record["candidate"])
        number = self._unit_of.pop(key, None)
        if record["kind"] == "result":
            self._evidence.take(record)
        if number is None:  # settled without having been begun: a sample that killed its workers
            return
        unit = self._units[number]
        unit.waiting.discard(key)
        if record["kind"] == "result":
            unit.graded += 1
            unit.right += record["verdict"] == "right"

    def _count(self) -> None:
        while self._units:
            number, unit = next(iter(self._units.items()))
            if unit.waiting:
                return
            del self._units[number]
            if unit.graded:
                self._betting.take(unit.right / unit.graded)
                self._counted += unit.graded


def causes(evidence: Evidence, facts: list[str], *, above: bool) -> list[str]:
    """What may be the matter, the best supported first: by the share of results that speak for it."""
    n = max(1, evidence.results)
    if above:
        text = "more is right than expected: look whether prompts or training data hold the answers"
        return [text, *facts]
    read, most = _dominant(evidence)
    found = [
        (evidence.reasons["truncated"], "answers were cut off: raise generate.max_tokens"),
        (evidence.reasons["empty"], "answers are empty: look at the template and the stop texts"),
        (evidence.reasons["unparsed"], "answers hold nothing that the extractor reads"),
        (evidence.unclosed, "answers never end their chain of thought"),
        (evidence.disagree, "answers are read otherwise by another rule: look at the extractor"),
        (most, f"answers are {read!r} without being right: one answer dominates"),
    ]
    ranked = sorted((pair for pair in found if pair[0] >= WORTH_SAYING * n), key=lambda pair: -pair[0])
    return [*facts, *(f"{count} of {n} {text}" for count, text in ranked)]


def _dominant(evidence: Evidence) -> tuple[str, int]:
    """The answer that is given most beyond what is right, and how many times too often."""
    excess = {read: count - evidence.golds[read] for read, count in evidence.read.items()}
    read = max(excess, key=excess.__getitem__, default="")
    return read, excess.get(read, 0)


def _percent(low: float, high: float) -> str:
    """`60 %`, or `12.3 to 15.0 %`."""
    if high - low < 1e-9:
        return f"{100 * low:.4g} %"
    return f"{100 * low:.1f} to {100 * high:.1f} %"
