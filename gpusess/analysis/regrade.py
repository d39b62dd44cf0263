"""Grading recorded results again, with the grader of today or with other extractors, and what that flips.

No model and no file is needed: a record holds the completion, the right answer and whatever else its task's
grading takes. The journal's own verdicts stay what they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpusess.analysis.paired import Paired, compare_shares
from remote_agent.protocol import TaskSpec
from remote_agent.registry import EXTRACTORS, TASKS, load
from remote_agent.tasks.base import DataError, Grade, Task
from remote_agent.tasks.grading import regrade as grade_again


@dataclass(frozen=True, slots=True)
class Reading:
    """How a completion was read and judged."""

    verdict: str
    reason: str
    extracted: str | None
    rule: str | None


@dataclass(frozen=True, slots=True)
class Flip:
    """A result whose verdict is another one now."""

    sample: str
    candidate: int
    gold: str
    before: Reading
    after: Reading
    completion: str

    @property
    def why(self) -> str:
        """What is different, in a few words."""
        old, new = self.before, self.after
        if old.extracted == new.extracted and old.rule == new.rule:
            return f"{_shown(new)} is compared otherwise"
        return f"{_shown(old)} before, {_shown(new)} now"


@dataclass(slots=True)
class Regraded:
    """The outcome. `pairs` counts (right before, right now)."""

    total: int = 0
    same: int = 0
    """Verdict, reading and rule are what they were."""
    reread: int = 0
    """The verdict is the same, what was read is not."""
    other_rule: int = 0
    """Verdict and reading are the same, and another rule has read it."""
    disagree: int = 0
    """Results that another rule reads otherwise, by the grader of now."""
    flips: list[Flip] = field(default_factory=list)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(verdict or reason before, now) of the flips."""
    pairs: Counter[tuple[float, float]] = field(default_factory=Counter)

    @property
    def paired(self) -> Paired | None:
        """Before against now; None for no results."""
        return compare_shares(self.pairs)


def task_spec(planned: Mapping[str, Any], extractors: list[str], headline: str | None) -> TaskSpec:
    """The task's settings as the run had them, with other extractors where some are named.

    headline: the rule that decides; it is put first. Raises ValueError for an unknown task or rule.
    """
    recorded: dict[str, Any] = planned.get("order", {}).get("task") or {"name": planned["task"]}
    spec = TaskSpec.model_validate(recorded)
    task: Task = load(TASKS[spec.name])()
    rules = extractors or list(task.answer_format(spec).rules)
    if headline is not None:
        rules = [headline, *(rule for rule in rules if rule != headline)]
    chosen = spec.model_copy(update={"extractors": rules})
    format = task.answer_format(chosen)
    known = list(EXTRACTORS[format.family])
    if unknown := [rule for rule in rules if rule not in known]:
        raise ValueError(f"there is no rule '{unknown[0]}' for its answers; rules: {', '.join(known)}")
    return chosen


def regrade(results: Iterable[Mapping[str, Any]], spec: TaskSpec) -> tuple[Regraded, list[Mapping[str, Any]]]:
    """The outcome, and one plain row a result for the file. Raises ValueError where `spec` does not fit."""
    found = Regraded()
    try:
        return found, list(_rows(results, spec, found))
    except DataError as exc:
        raise ValueError(str(exc)) from exc


def _rows(
    results: Iterable[Mapping[str, Any]], spec: TaskSpec, found: Regraded
) -> Iterator[Mapping[str, Any]]:
    for result in results:
        before = Reading(result["verdict"], result["reason"], result["extracted"], result["rule"])
        grade = grade_again(result, spec)
        after = _reading(grade)
        _count(found, result, before, after, grade)
        yield {
            "sample": result["sample"],
            "candidate": result["candidate"],
            "verdict": after.verdict,
            "reason": after.reason,
            "extracted": after.extracted,
            "rule": after.rule,
            "disagree": grade.disagree,
            "marks": list(grade.marks),
            "before": before.verdict if before.verdict != after.verdict else None,
        }


def _count(found: Regraded, result: Mapping[str, Any], before: Reading, after: Reading, grade: Grade) -> None:
    found.total += 1
    found.disagree += grade.disagree
    found.pairs[float(before.verdict == "right"), float(after.verdict == "right")] += 1
    if before == after:
        found.same += 1
    elif before.verdict == after.verdict:
        if before.extracted == after.extracted and before.reason == after.reason:
            found.other_rule += 1
        else:
            found.reread += 1
    else:
        found.moves[_name(before), _name(after)] += 1
        key = result["sample"], result["candidate"], result["gold"]
        found.flips.append(Flip(*key, before, after, result["completion"]))


def _reading(grade: Grade) -> Reading:
    return Reading(grade.verdict, grade.reason, grade.extracted, grade.rule)


def _name(reading: Reading) -> str:
    """`right`, `wrong`, or why there is no answer: these are different things."""
    return reading.verdict if reading.verdict != "no_answer" else reading.reason


def _shown(reading: Reading) -> str:
    if reading.extracted is None:
        return f"nothing ({reading.reason})"
    return f"{reading.extracted!r} by {reading.rule}"
