"""Rewards: what a user's function is given, and the example whose reward is the actor's own likelihood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.runs import of_kind, order_into, work

pytestmark = pytest.mark.model

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "chain_of_thought.py"
GRPO = {
    "method": "grpo", "steps": 2, "generations": 4, "batch_size": 4, "max_new_tokens": 8, "eval_every": None,
    "save_every": 2, "kl": 0.05, "lora": {"r": 4},
}  # fmt: skip
SEEN = """
def reward(prompts, completions, gold, row, fields, actor, **_):
    assert len(prompts) == len(completions) == len(gold) == len(row) == len(fields)
    for right, own in zip(gold, fields):
        assert own["answer"].endswith(f"#### {right}"), (right, own)
    chats = [[{"role": "user", "content": "x"}]] * len(gold)
    first, second = actor.logprobs(chats, gold), actor.logprobs(chats, gold)
    assert first == second and all(value < 0 for value in first)
    return [float(len(turns[-1]["content"])) for turns in completions]
"""


def test_a_function_is_given_the_rows_and_the_model_that_is_trained(
    tmp_path: Path, tiny_model: Path, rows_file: Path
) -> None:
    rewards = [{"by": "module", "module": "reward.py"}]
    run = order_into(tmp_path / "run", tiny_model, rows_file, rewards=rewards, **GRPO)
    (run / "reward.py").write_text(SEEN)
    assert work(run) == 0, of_kind(run, "finished")


def test_the_reward_for_chains_of_thought_trains(tmp_path: Path, tiny_model: Path, rows_file: Path) -> None:
    rewards = [{"by": "module", "module": "chain_of_thought.py"}]
    run = order_into(tmp_path / "run", tiny_model, rows_file, rewards=rewards, **GRPO, guard={"kl": 5})
    (run / "chain_of_thought.py").write_text(EXAMPLE.read_text())
    assert work(run) == 0, of_kind(run, "finished")
    steps = [record["figures"] for record in of_kind(run, "step")]
    assert [figures["kl"] is not None for figures in steps] == [True, True]
    assert all(-10 <= figures["reward"] <= 10 for figures in steps)
    assert any(figures["reward"] != 0 for figures in steps)
    assert not [c for c in of_kind(run, "check") if "KL penalty" in c["message"]]


def test_the_task_grades_and_a_reward_model_judges(tmp_path: Path, tiny_model: Path, rows_file: Path) -> None:
    """Both in one training; an untrained model writes nothing that the task calls right."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForSequenceClassification

    torch.manual_seed(0)
    judge = tmp_path / "judge"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    config = AutoConfig.from_pretrained(tiny_model, num_labels=1, pad_token_id=tokenizer.pad_token_id)
    LlamaForSequenceClassification(config).save_pretrained(judge)
    tokenizer.save_pretrained(judge)
    rewards = [{"by": "task"}, {"by": "model", "model": str(judge), "weight": 0.5}]
    run = order_into(tmp_path / "run", tiny_model, rows_file, rewards=rewards, **GRPO)
    assert work(run) == 0, of_kind(run, "finished")
    steps = [record["figures"] for record in of_kind(run, "step")]
    assert len(steps) == 2
    assert all(0 < abs(figures["reward"]) < 1 and figures["reward_std"] > 0 for figures in steps), steps


def test_the_task_reward_is_the_verdict_of_the_evaluation() -> None:
    from remote_agent.protocol import TaskSpec
    from remote_agent.registry import TASKS, load
    from remote_agent.training.rewards import task_reward

    spec = TaskSpec(name="word_problems")
    reward = task_reward(load(TASKS["word_problems"])(), spec)
    said = ["5 + 6 is 11\n#### 11", "#### 12", "", "no idea"]
    chats = [[{"role": "assistant", "content": text}] for text in said]
    assert reward(completions=chats, gold=["11"] * 4) == [1.0, 0.0, 0.0, 0.0]
    assert reward(completions=said, gold=["11"] * 4) == [1.0, 0.0, 0.0, 0.0]


def test_the_thought_counts_and_not_the_question_nor_the_answer_line() -> None:
    """With an actor that finds an answer likely where its text stands in the chat."""
    from remote_agent.user_code import function_of

    asked: list[Any] = []

    class Actor:
        def logprobs(self, chats: list[Any], answers: list[str]) -> list[float]:
            asked.extend(chats)
            pairs = zip(chats, answers, strict=True)
            return [-1.0 if answer in chat[-1]["content"] else -6.0 for chat, answer in pairs]

    reward = function_of(EXAMPLE, "reward", "example")
    said = ["5 + 6 is 11\n#### 11", "no idea\n#### 11", "it is 12"]
    turns = [[{"role": "assistant", "content": text}] for text in said]
    prompts = [[{"role": "user", "content": "SECRET 5 + 6?"}]] * 3
    assert reward(prompts=prompts, completions=turns, gold=["11"] * 3, actor=Actor()) == [5.0, 0.0, 0.0]
    assert not any("SECRET" in chat[-1]["content"] for chat in asked)
