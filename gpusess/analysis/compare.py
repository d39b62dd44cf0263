"""Runs side by side: their metrics, paired tests against the first, and whatever differs beside the model.

Pure: it takes runs that have been read (`gpusess.sessions.answers`) and returns plain values to print.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from math import fsum, isnan

from gpusess.analysis.answers import Answers
from gpusess.analysis.intervals import wilson
from gpusess.analysis.metrics import SIZES, of_the_corpus
from gpusess.analysis.paired import Paired, compare_shares, compare_values, holm
from gpusess.analysis.resampling import bootstrap_of
from gpusess.analysis.run_state import RunState

ACCURACY = "accuracy"
DISAGREE_SHARE, TRUNCATED_SHARE, FAILED_SHARE = 0.02, 0.05, 0.0
"""Above these shares of the results a number is warned of."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of one run, with its 95% interval."""

    value: float
    low: float
    high: float
    n: int
    """Samples that it rests on."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the runs."""

    label: str
    model: str
    weights: str
    task: str
    done: int
    total: int
    """Planned results; 0 where the run never came to its plan."""
    right: int
    wrong: int
    no_answer: int
    truncated: int
    empty: int
    failed: int
    disagree: int
    figures: dict[str, Figure]
    forced: list[str]
    alarm: str


@dataclass(frozen=True, slots=True)
class Against:
    """One run against the first, in one metric."""

    metric: str
    first: str
    second: str
    paired: Paired
    adjusted: float | None
    """The p value adjusted by Holm's rule for the number of runs that are compared with the first."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something beside the model in which the arms differ: one value an arm."""

    name: str
    values: list[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    arms: list[Arm]
    against: list[Against]
    differences: list[Difference]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Side:
    """What a comparison takes of a run."""

    label: str
    state: RunState
    answers: Answers


def compare(sides: Sequence[Side]) -> Comparison:
    """The first run is what the others are held against."""
    arms = [arm(side) for side in sides]
    against = _adjusted([row for side in sides[1:] for row in _against(sides[0], side)])
    warnings = [text for side, own in zip(sides, arms, strict=True) for text in arm_warnings(own, side.state)]
    for side in sides[1:]:
        warnings += pair_warnings(sides[0], side)
    warnings += [text for row in against if (text := too_few(row))]
    return Comparison(arms, against, differences(sides), warnings)


def arm(side: Side) -> Arm:
    """A run's own numbers."""
    answers, state = side.answers, side.state
    right, n = answers.count_of(verdict="right"), answers.total
    figures = {}
    band = answers.band
    if band:
        figures[ACCURACY] = Figure(right / n, *band, n)
    for name in sorted(answers.metrics.keys() - set(SIZES)):
        values = _values(answers.metrics[name])
        if values:
            figures[name] = Figure(fsum(values) / len(values), *_interval(values), len(values))
    figures |= {name: Figure(*found) for name, found in of_the_corpus(answers.metrics).items()}
    return Arm(
        label=side.label,
        model=state.model,
        weights=state.weights,
        task=state.task,
        done=n + answers.failed,
        total=state.total,
        right=right,
        wrong=answers.count_of(verdict="wrong"),
        no_answer=answers.count_of(verdict="no_answer"),
        truncated=answers.count_of(reason="truncated"),
        empty=answers.count_of(reason="empty"),
        failed=answers.failed,
        disagree=answers.count_of(disagree=True),
        figures=figures,
        forced=state.forced,
        alarm=state.alarm.message if state.alarm else "",
    )


def _values(column: array[float]) -> array[float]:
    return array("d", (value for value in column if not isnan(value)))


def _interval(values: array[float]) -> tuple[float, float]:
    if len(values) and set(values[:64]) <= {0.0, 1.0} and set(values) <= {0.0, 1.0}:
        return wilson(int(sum(values)), len(values))
    return bootstrap_of(values) or (0.0, 1.0)


# --- pairs ---------------------------------------------------------------------------------------------


def _against(first: Side, second: Side) -> list[Against]:
    rows = []
    paired = compare_shares(share_pairs(first.answers, second.answers))
    if paired:
        rows.append(Against(ACCURACY, first.label, second.label, paired, paired.p))
    for name in sorted((first.answers.metrics.keys() & second.answers.metrics.keys()) - set(SIZES)):
        values = _both(first.answers.metrics[name], second.answers.metrics[name])
        paired = compare_values(*values)
        if paired:
            rows.append(Against(name, first.label, second.label, paired, paired.p))
    return rows


def _both(first: array[float], second: array[float]) -> tuple[array[float], array[float]]:
    """A metric's values of the samples for which both runs have one."""
    kept = [not (isnan(a) or isnan(b)) for a, b in zip(first, second, strict=False)]
    return array("d", compress(first, kept)), array("d", compress(second, kept))


def share_pairs(a: Answers, b: Answers) -> Counter[tuple[float, float]]:
    """(share right in a, share right in b) → samples that both have."""
    counts = Counter(zip(a.right, a.graded, b.right, b.graded, strict=False))
    pairs: Counter[tuple[float, float]] = Counter()
    for (right_a, of_a, right_b, of_b), count in counts.items():
        if of_a and of_b:
            pairs[right_a / of_a, right_b / of_b] += count
    return pairs


def _adjusted(rows: list[Against]) -> list[Against]:
    """Holm's rule within each metric, over the runs that are held against the first."""
    done = list(rows)
    for metric in {row.metric for row in rows}:
        at = [i for i, row in enumerate(rows) if row.metric == metric and row.paired.p is not None]
        for i, p in zip(at, holm([rows[i].paired.p or 0.0 for i in at]), strict=True):
            done[i] = replace(rows[i], adjusted=p)
    return done


# --- what differs beside the model ---------------------------------------------------------------------


def differences(sides: Sequence[Side]) -> list[Difference]:
    """All settings in which the arms are not equal, in the order in which the first names them."""
    settings = [settings_of(side.state) for side in sides]
    names = list(dict.fromkeys(name for one in settings for name in one))
    rows = [Difference(name, [one.get(name, "not recorded") for one in settings]) for name in names]
    return [row for row in rows if len(set(row.values)) > 1]


def settings_of(state: RunState) -> dict[str, str]:
    """What a run's numbers hang on beside the model; older journals tell less."""
    versions = ", ".join(f"{name} {v}" for name, v in sorted(state.versions.items()) if name != "python")
    plain = {
        "task": state.task,
        "data": state.data,
        "extractor": state.headline,
        "engine": state.engine,
        "dtype": state.dtype,
        "answers a sample": str(state.candidates),
    }
    return {**plain, **state.settings, **({"software": versions} if versions else {})}


# --- warnings ------------------------------------------------------------------------------------------


def arm_warnings(arm: Arm, state: RunState) -> list[str]:
    """What is doubtful about a run's number by itself."""
    graded = max(1, arm.done - arm.failed)
    found = []
    if arm.forced:
        found.append(f"was forced: {' '.join(text.removeprefix('Forced: ') for text in arm.forced)}")
    if arm.alarm:
        found.append(f"raised an alarm: {arm.alarm}")
    if not arm.total:
        found.append("has no plan: it never began to evaluate")
    elif arm.done < arm.total:
        found.append(f"is not complete: {arm.done} of {arm.total} results, and what is missing may differ")
    if arm.failed > FAILED_SHARE * arm.done:
        many, they = (
            ("1 result", "it counts") if arm.failed == 1 else (f"{arm.failed:,} results", "they count")
        )
        found.append(f"lacks {many} that could not be computed; {they} neither way")
    if arm.disagree > DISAGREE_SHARE * graded:
        share = 100 * arm.disagree / graded
        found.append(f"hangs on the extractor: in {share:.1f} % of the results another rule reads otherwise")
    if arm.truncated > TRUNCATED_SHARE * graded:
        share = 100 * arm.truncated / graded
        found.append(f"lost {share:.1f} % of the answers to the token limit")
    if state.finished and state.finished[0] == "failed":
        found.append(f"has failed: {state.message}")
    return [f"{arm.label} {text}" for text in found]


def pair_warnings(first: Side, second: Side) -> list[str]:
    """What is doubtful about holding the second against the first."""
    a, b = first.answers, second.answers
    both = prompts = golds = only_a = only_b = 0
    shared = min(len(a.graded), len(b.graded))
    rows = zip(a.graded, b.graded, a.prompts, b.prompts, a.golds, b.golds, strict=False)
    for has_a, has_b, prompt_a, prompt_b, gold_a, gold_b in rows:
        if has_a and has_b:
            both += 1
            prompts += prompt_a != prompt_b
            golds += gold_a != gold_b
        else:
            only_a += has_a > 0
            only_b += has_b > 0
    only_a += sum(has > 0 for has in a.graded[shared:])
    only_b += sum(has > 0 for has in b.graded[shared:])
    pair = f"{first.label} and {second.label}"
    found = []
    if not both:
        return [f"{pair} have no sample in common: nothing can be paired"]
    if only_a or only_b:
        found.append(
            f"{pair} share {both} samples; {only_a} are only in the first, {only_b} only in the second"
        )
    if golds:
        found.append(f"{pair} have different right answers for {golds} of {both} samples: the data differ")
    if prompts:
        found.append(f"{pair} were asked {prompts} of {both} samples with different prompts")
    return found


def too_few(row: Against) -> str:
    """A warning where the samples cannot tell the difference that is seen; empty: they can."""
    paired = row.paired
    if paired.told_apart or row.metric != ACCURACY:
        return ""
    smallest = 100 * paired.detectable
    text = (
        f"{paired.n} samples do not tell {row.second} from {row.first}: they show differences of about "
        f"{smallest:.1f} points or more"
    )
    if paired.needed is None:
        return text
    seen = 100 * abs(paired.difference)
    return f"{text}; the {seen:.1f} points seen here would take about {paired.needed:,} samples"
