"""The collapse guard against recorded and made-up courses of trainings."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.training.guard import Guard, Limits, repetition


def course(**figures: list[float]) -> list[dict[str, float]]:
    """One dict a step out of one list a figure."""
    length = max(len(values) for values in figures.values())
    return [{name: values[i] for name, values in figures.items() if i < len(values)} for i in range(length)]


def fired(steps: list[dict[str, float]], **limits: float) -> dict[str, int]:
    """Rule → the first step that it fired at."""
    guard, found = Guard(Limits(**limits)), {}
    for number, figures in enumerate(steps):
        for finding in guard.see(number, figures):
            found.setdefault(finding.rule, finding.step)
    return found


def healthy(steps: int = 300, seed: int = 0) -> list[dict[str, float]]:
    rng = random.Random(seed)
    return [
        {
            "loss": rng.gauss(0.0, 0.02),
            "reward": min(1.0, 0.2 + 0.002 * i + rng.gauss(0, 0.08)),
            "grad_norm": math.exp(rng.gauss(0, 0.5)),
            "ratio": 1 + rng.gauss(0, 0.02),
            "kl": abs(rng.gauss(0, 0.01)) + 0.0005 * i,
            "entropy": 0.8 - 0.001 * i + rng.gauss(0, 0.02),
            "length": 60 + rng.gauss(0, 5),
            "clipped": abs(rng.gauss(0, 0.02)),
            "repetition": abs(rng.gauss(0, 0.02)),
            "logprob": -0.5 + rng.gauss(0, 0.05),
        }
        for i in range(steps)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_course_is_left_alone(seed: int) -> None:
    assert fired(healthy(seed=seed)) == {}


def test_the_recorded_collapse_is_found_long_before_its_last_checkpoint() -> None:
    # What is known of the recorded run: ratio 1.17 at step 99 and 21.75 at 999, log-probabilities from -1.9
    # to -41. Between the two points the course is taken as geometric and linear.
    def at(step: int) -> dict[str, float]:
        part = max(0.0, (step - 99) / 900)
        return {"ratio": 1.17 * (21.75 / 1.17) ** part, "logprob": -1.9 - 39.1 * part}

    guard = Guard(Limits())
    first = next(f for step in range(1000) for f in guard.see(step, at(step)))
    assert first.step < 300
    assert first.rule in ("ratio", "logprob")
    only_logged_at_the_two_known_steps = [at(99), at(999)]
    assert fired(only_logged_at_the_two_known_steps, patience=1) == {"ratio": 1}


@pytest.mark.parametrize(
    ("rule", "figures"),
    [
        ("kl", {"kl": 50.0}),
        ("entropy", {"entropy": 0.001}),
        ("reward", {"reward": -3.0}),
        ("grad_norm", {"grad_norm": 500.0}),
        ("repetition", {"repetition": 0.95}),
        ("length", {"length": 400.0, "clipped": 1.0}),
        ("logprob", {"logprob": -9.0}),
        ("ratio", {"ratio": 3.0}),
    ],
)
def test_each_rule_fires_on_its_own_collapse_and_only_that(rule: str, figures: dict[str, float]) -> None:
    steps = healthy(60) + [{**step, **figures} for step in healthy(30, seed=1)]
    found = fired(steps)
    assert set(found) == {rule}
    assert 60 <= found[rule] <= 75


def test_a_single_bad_step_is_no_collapse() -> None:
    steps = healthy(100)
    steps[50] |= {"ratio": 9.0, "grad_norm": 1e4, "kl": 99.0}
    assert fired(steps) == {}


def test_a_supervised_loss_that_jumps_up_is_found() -> None:
    losses = [2.0 * 0.98**i for i in range(50)] + [9.0] * 5
    assert fired(course(loss=losses)) == {"loss": 52}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_is_found_at_once(value: float) -> None:
    steps = healthy(20)
    steps[7]["grad_norm"] = value
    assert fired(steps) == {"not_finite": 7}


def test_a_rule_that_is_switched_off_is_quiet() -> None:
    steps = healthy(60) + [{**step, "kl": 50.0} for step in healthy(30)]
    assert fired(steps, kl=None) == {}


def test_a_rule_speaks_once_for_each_time_it_is_broken() -> None:
    guard = Guard(Limits(kl=1.0, patience=2))
    kls = [0, 2, 2, 2, 2, 0, 2, 2]
    steps = [f.step for i, kl in enumerate(kls) for f in guard.see(i, {"kl": float(kl)})]
    assert steps == [2, 7]


def test_steps_without_a_signal_are_found_once_there_are_many() -> None:
    steps = [{"reward": 0.0, "ratio": 1.0, "no_signal": 1.0}] * 30
    assert fired(steps) == {"no_signal": 19}
    assert fired([{**s, "no_signal": float(i % 10 > 0)} for i, s in enumerate(steps)]) == {}


def test_a_supervised_model_may_become_sure_of_itself() -> None:
    assert fired([{"loss": 1.0, "entropy": 2.0 * 0.8**i} for i in range(40)]) == {}


def test_loops_are_repetition_and_prose_is_not() -> None:
    assert repetition([4] * 50) > 0.9
    assert repetition([7, 8] * 30) > 0.9
    assert repetition([1, 2, 3, 4] * 20) > 0.9
    assert repetition(list(range(100))) == 0
    assert repetition([]) == 0
    assert repetition([1, 1, 2, 3, 3, 4, 5, 5, 6]) == 0


@given(st.lists(st.integers(0, 5), max_size=200))
def test_repetition_is_a_share(tokens: list[int]) -> None:
    assert 0 <= repetition(tokens) <= 1


def test_what_is_still_broken_after_a_pardon_is_found_then() -> None:
    guard = Guard(Limits(patience=2, kl=1.0))
    guard.pardon(6)
    found = {step: guard.see(step, {"kl": 5.0}) for step in range(1, 12)}
    assert [step for step, findings in found.items() if findings] == [7]
    assert guard.levels["kl"].high == 1.0
    assert guard.levels["kl"].broken
    assert guard.broken["kl"] == 6
    assert guard.see(12, {"kl": float("nan")})[0].rule == "not_finite"


def passes(steps: list[dict[str, float]], each: int = 4) -> list[dict[str, float]]:
    """As several passes over the same answers are logged: only the first of them has what the answers were."""
    of_answers = ("reward", "length", "clipped", "no_signal")
    return [
        {name: value for name, value in step.items() if pass_ == 0 or name not in of_answers}
        for step in steps
        for pass_ in range(each)
    ]


@pytest.mark.parametrize(
    ("rule", "figures"),
    [("reward", {"reward": -3.0}), ("length", {"length": 400.0, "clipped": 1.0})],
)
def test_over_several_passes_the_steps_with_a_figure_count(rule: str, figures: dict[str, float]) -> None:
    steps = healthy(60) + [{**step, **figures} for step in healthy(10, seed=1)]
    found = fired(passes(steps))
    assert set(found) == {rule}
    assert 4 * 62 <= found[rule] <= 4 * 68
    quiet = [{"reward": 0.0, "ratio": 1.0, "no_signal": 1.0}] * 30
    assert fired(passes(quiet)) == {"no_signal": 4 * 19}


def test_a_loss_of_reinforcement_learning_is_no_supervised_one() -> None:
    losses = [0.01] * 50 + [0.5] * 10  # a later pass has a ratio and no reward
    assert fired([{"loss": loss, "ratio": 1.0} for loss in losses]) == {}
