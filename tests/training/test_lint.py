"""What is said of a configuration before the first step, each with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from remote_agent.train_protocol import TrainSpec
from remote_agent.training.lint import lint

OWN = [{"by": "module", "module": "r.py"}]


def said(rows: int = 1000, **changes: Any) -> list[str]:
    settings = {"method": "grpo", "data": {"path": "x"}, "steps": 100, "lr": 1e-6, **changes}
    return [check.message for check in lint(TrainSpec.model_validate(settings), rows)]


def test_a_sound_configuration_is_left_alone() -> None:
    assert said() == []
    assert said(method="sft", lr=1e-5) == []
    assert said(rewards=OWN, kl=0.05) == []


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"eval_every": None}, "eval_every is off"),
        ({"eval_every": 200}, "beyond the last step"),
        ({"max_grad_norm": 0}, "max_grad_norm is 0"),
        ({"lr": 1e-4}, "lr 0.0001 is high for reinforcement learning: above 5e-05"),
        ({"lr": 1e-3, "lora": {}}, "with LoRA: above 0.0005"),
        ({"method": "sft", "lr": 0.01}, "high for supervised training"),
        ({"generations": 2}, "a poor baseline"),
        ({"rewards": OWN}, "no KL penalty"),
        ({"rewards": [{"by": "model", "model": "m"}]}, "no KL penalty"),
        ({"method": "ppo", "rewards": OWN, "kl": 0.1}, "the ratio has run away"),
        ({"method": "pg", "iterations": 2}, "nothing holds the ratio near 1"),
        ({"method": "ppo", "guard": {"ratio": None}}, "ratio rule is off"),
        ({"guard": {"action": "alarm"}}, "a collapsed run goes on"),
        ({"method": "sft", "lr": 1e-5, "steps": 10_000}, "learn them by heart"),
    ],
)
def test_what_has_cost_people_their_runs_is_said(changes: dict[str, Any], part: str) -> None:
    (message,) = said(**changes)
    assert part in message


def test_ppo_with_an_actor_reward_without_a_penalty_is_said_twice() -> None:
    assert len(said(method="ppo", rewards=OWN)) == 2
