"""What the health strip says is what the guard on the instance sees: the same rules over the same figures."""

from __future__ import annotations

import math
from typing import Any

from gpusess.analysis.run_state import RunState, fold
from gpusess.analysis.training_health import Health, limits_of
from gpusess.analysis.training_state import TrainState
from remote_agent.training.guard import Guard, Limits
from tests.tui import trainings


def folded(records: list[dict[str, Any]]) -> TrainState:
    state = RunState()
    for i, record in enumerate(records):
        fold(state, {**record, "ts": float(i)})
    assert state.train is not None
    return state.train


def grpo(done: int = 171) -> list[dict[str, Any]]:
    return [record for _, record in trainings.guarded(trainings.grpo(400, done, 150, 0.0))]


def test_it_is_the_guard_of_the_instance() -> None:
    guard = Guard(Limits())
    for record in grpo():
        if record["kind"] == "step":
            guard.see(record["step"], record["figures"])
    found = {standing.rule: standing for standing in Health().take(folded(grpo()))}
    for rule, level in guard.levels.items():
        assert found[rule].level == level
        assert found[rule].broken == guard.broken[rule]
    assert found["kl"].state == "alarm"
    assert found["kl"].limit == "≤ 10"
    assert found["ratio"].limit == "0.4 … 1.6"
    assert found["length"].state == "strained"
    assert found["grad_norm"].state == "ok"


def test_fed_bit_by_bit_it_says_the_same() -> None:
    records, health = grpo(), Health()
    state = RunState()
    for i, record in enumerate(records):
        fold(state, {**record, "ts": float(i)})
        if state.train and i % 7 == 0:
            health.take(state.train)
    assert state.train is not None
    assert health.take(state.train) == Health().take(folded(records))


def test_after_a_rollback_it_begins_anew_from_there() -> None:
    back = {"kind": "steered", "id": "a", "step": 171, "action": "rollback", "to_step": 150, "lr_factor": 0.5}
    records = grpo()
    health = Health()
    health.take(folded(records))
    train = folded([*records, back])
    assert not train.open_alarms
    assert train.step == 150
    assert [s.state for s in health.take(train) if s.state not in ("ok", "waiting")] == []


def test_ignored_alarms_are_no_alarms_until_their_end() -> None:
    quiet = {"kind": "steered", "id": "a", "step": 160, "action": "ignore", "to_step": None, "until": 900}
    records = grpo()
    at = next(i for i, r in enumerate(records) if r["kind"] == "step" and r["step"] == 160)
    train = folded([*records[: at + 1], quiet, *(r for r in records[at + 1 :] if r["kind"] != "guarded")])
    assert {s.state for s in Health().take(train)} <= {"ok", "strained"}


def test_a_figure_that_is_not_finite_is_an_alarm() -> None:
    nan = {"kind": "step", "step": 172, "tokens": 0, "figures": {"loss": None, "reward": 0.1}}
    found = {s.rule: s for s in Health().take(folded([*grpo(), nan]))}
    assert found["not_finite"].state == "alarm"


def test_limits_are_those_of_the_order() -> None:
    limits = limits_of({"epsilon": 0.1, "guard": {"kl": None, "patience": 5, "action": "rollback"}})
    assert (limits.epsilon, limits.kl, limits.patience) == (0.1, None, 5)
    assert limits_of({"guard": {"kl": "much"}}) == Limits()
    train = folded(grpo())
    train.settings = {"guard": {"kl": None}}
    found = {s.rule: s for s in Health().take(train)}
    assert (found["kl"].state, found["kl"].limit) == ("off", "off")


def test_a_supervised_training_has_its_own_rules() -> None:
    train = folded([record for _, record in trainings.sft(60, 0.0)])
    assert [s.rule for s in Health().take(train)] == ["grad_norm", "loss", "not_finite"]
    assert math.isfinite(Health().take(train)[0].level.high)  # type: ignore[union-attr]
