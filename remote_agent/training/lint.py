"""Configurations that have cost people their runs: said before the first step, each with its reason.

Warnings, not refusals: each of them is right sometimes.
"""

from __future__ import annotations

from collections.abc import Iterator

from remote_agent.protocol import Check
from remote_agent.train_protocol import TrainSpec

RL_LR = 5e-5
"""Learning rates above this are rare in reinforcement learning of language models; TRL's default is 1e-6."""
RL_LORA_LR = 5e-4
SFT_LR = 1e-3
SMALL_GROUP = 4


def lint(train: TrainSpec, rows: int) -> list[Check]:
    """What about the settings may cost the run. rows: how many there are to learn from."""
    return [Check(name="settings", status="warn", message=message) for message in _objections(train, rows)]


def _objections(train: TrainSpec, rows: int) -> Iterator[str]:
    rl = train.method != "sft"
    if train.eval_every is None:
        yield "eval_every is off: a run that has gone wrong is found out when it has been paid for."
    elif train.eval_every > train.steps:
        yield f"eval_every ({train.eval_every}) is beyond the last step ({train.steps}): it comes too late."
    if train.max_grad_norm == 0:
        yield "max_grad_norm is 0: one bad batch can throw the weights away. 1.0 is usual."
    most = (RL_LORA_LR if train.lora else RL_LR) if rl else SFT_LR
    if train.lr > most:
        kind = "reinforcement learning" if rl else "supervised training"
        yield f"lr {train.lr:g} is high for {kind}{' with LoRA' if train.lora else ''}: above {most:g}."
    if train.guard.action == "alarm":
        yield "guard.action is alarm: a collapsed run goes on, and bills, until its last step."
    if rl:
        yield from _rl_objections(train)
    seen = train.steps * train.batch_size * train.accumulate * train.processes
    if not rl and rows and seen > 20 * rows:
        yield f"each of {rows} rows is seen {seen / rows:.0f} times: the model will learn them by heart."


def _rl_objections(train: TrainSpec) -> Iterator[str]:
    if train.generations < SMALL_GROUP:
        yield (
            f"generations is {train.generations}: the mean of so small a group is a poor baseline. "
            "8 or more are usual (Shao et al. 2024, DeepSeekMath)."
        )
    own = any(reward.by != "task" for reward in train.rewards)
    if own and train.kl == 0:
        yield (
            "a reward of your own or a model's, and no KL penalty: where it comes from the actor itself or "
            "from a model, it is gamed sooner or later. Set kl, such as 0.05."
        )
    if own and train.passes > 1:
        yield (
            f"{train.passes} passes over answers with a reward of your own or a model's: where it comes from "
            "the actor itself, each pass moves it too, and the ratio has run away in such trainings. One "
            "pass (grpo) is safer; keep the guard's rules ratio and kl on."
        )
    if train.method == "pg" and train.passes > 1:
        yield "policy gradient without clipping over several passes: nothing holds the ratio near 1."
    if train.guard.ratio is None and train.passes > 1:
        yield "the guard's ratio rule is off while answers are used several times."
