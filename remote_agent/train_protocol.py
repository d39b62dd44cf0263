"""What crosses the wire of a training: the part of the order that says how to train, and the records of its
journal. The evaluation's parts, and the envelope, are `protocol.py`'s.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from remote_agent.strict import Strict
from remote_agent.training.guard import Limits


class LoraSpec(Strict):
    """Train small matrices beside the frozen weights (Hu et al. 2021)."""

    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | list[str] = "all-linear"
    """Names of the layers."""
    quantise: Literal["none", "4bit"] = "none"
    """4bit: the frozen weights in NF4 (QLoRA, Dettmers et al. 2023); needs a CUDA GPU and bitsandbytes."""


class TrainData(Strict):
    """What is learned from: a JSONL file whose rows hold `messages` (a chat), `prompt` and `completion`, or
    `question` and `answer`. The last become a chat through the prompt of the run's task, so that training and
    evaluation ask alike.
    """

    path: str
    limit: int | None = Field(default=None, ge=1)
    """Take only that many rows, chosen by `seed`."""
    seed: int = 0


class RewardSpec(Strict):
    """What an answer is worth in reinforcement learning."""

    by: Literal["task", "module", "model"] = "task"
    """The grader of the run's task (right 1, else 0); a function of a Python file; a reward model."""
    module: str | None = None
    """For `module`: a Python file relative to the session's folder."""
    function: str = "reward"
    """For `module`: gets the lists `prompts`, `completions`, `gold`, `row` and `fields` (each row's, as a
    dict), and `actor`, the model that is trained; returns numbers."""
    model: str | None = None
    """For `model`: a hub id or a folder with a sequence classifier."""
    weight: float = 1.0

    @model_validator(mode="after")
    def _complete(self) -> RewardSpec:
        if self.by in ("module", "model") and not getattr(self, self.by):
            raise ValueError(f"`by: {self.by}` without `{self.by}`; allowed: both together")
        return self


class GuardSpec(Limits):
    """The collapse guard's limits, and what to do when one is passed."""

    action: Literal["alarm", "pause", "rollback", "stop"] = "stop"
    """Say so and go on; end at a checkpoint, to be resumed; go back to the last good checkpoint with a lower
    learning rate; end the run."""
    rollback_lr: float = Field(default=0.5, gt=0, lt=1)
    """For `rollback`: the factor that the learning rate is multiplied with."""
    rollbacks: int = Field(default=2, ge=0)
    """For `rollback`: how often; after that the run stops."""


class TrainSpec(Strict):
    """How a model is trained. The run's `task`, `engine` and `generate` say how it is evaluated meanwhile."""

    method: Literal["sft", "grpo", "ppo", "pg"]
    """Supervised; group-relative policy optimisation; the same with PPO's clipped ratio over several passes;
    policy gradient without clipping."""
    data: TrainData
    steps: int = Field(ge=1)
    """Optimiser steps."""
    batch_size: int = Field(default=8, ge=1)
    """Sequences in one pass of one process."""
    accumulate: int = Field(default=1, ge=1)
    """Passes in one step."""
    lr: float = Field(default=1e-5, gt=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, ge=0)
    """The gradient is cut to this norm. 0: never."""
    max_length: int = Field(default=1024, ge=1)
    """Tokens of one sequence. A longer one is refused, not cut."""
    assistant_only: bool = True
    """For `sft`: only the assistant's tokens count."""
    seed: int = 0
    lora: LoraSpec | None = None
    """None: all weights are trained."""
    log_every: int = Field(default=1, ge=1)
    save_every: int = Field(default=50, ge=1)
    """Steps between checkpoints; the last step has one too."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints that stay on the instance, beside the best one."""
    eval_every: int | None = Field(default=50, ge=1)
    """Steps between evaluations of the run's task. None: never, which the lint objects to."""
    guard: GuardSpec = GuardSpec()
    # Reinforcement learning
    rewards: list[RewardSpec] = [RewardSpec()]
    generations: int = Field(default=8, ge=2)
    """Answers drawn for each prompt: the group that is the baseline."""
    max_new_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    kl: float = Field(default=0.0, ge=0)
    """Weight of the KL penalty against the model that training began with."""
    epsilon: float = Field(default=0.2, gt=0)
    """The probability ratio is clipped to 1 ± this."""
    iterations: int | None = Field(default=None, ge=1)
    """Passes over the same answers. None: 1, for `ppo` 4."""
    vllm: bool = False
    """Draw the answers with vLLM; needs a GPU."""
    processes: int = Field(default=1, ge=1)
    """Processes that share each step: one a GPU."""
    export: Literal["none", "merged", "adapter", "both"] = "none"
    """At the end, one more folder with tokenizer and template, tried by loading it. merged: with whole
    weights; adapter: with the adapter alone, as PEFT and vLLM load it; both: one of each."""
    mirrors: list[Literal["tensorboard", "wandb", "trackio"]] = []
    """Where figures go as well, through these programs' own libraries."""

    @field_validator("rewards")
    @classmethod
    def _some(cls, value: list[RewardSpec]) -> list[RewardSpec]:
        if not value:
            raise ValueError("no reward; allowed: at least one")
        return value

    @property
    def passes(self) -> int:
        """Passes over the same answers."""
        return self.iterations or (4 if self.method == "ppo" else 1)

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints: `save_every`, rounded up to the end of the passes over the same answers.
        Between two passes a resumed run would draw other answers, and take another course."""
        passes = 1 if self.method == "sft" else self.passes
        return -(-self.save_every // passes) * passes


class TrainPlanned(BaseModel):
    """What the training is. Written once; a later attempt must come to the same `plan_sha`."""

    kind: Literal["train_planned"] = "train_planned"
    method: str
    steps: int
    rows: int
    tokens: int
    """Tokens of all rows, the prompts' included; 0 where answers are yet to be written."""
    counted: int = 0
    """Of these, tokens that count for the loss."""
    trainable: int
    """Parameters that are trained."""
    parameters: int
    plan_sha: str
    data: str
    model: str
    dtype: str
    settings: dict[str, Any] = {}


class Seen(BaseModel):
    """One row as the model sees it: shown before the first step."""

    kind: Literal["seen"] = "seen"
    row: str
    pieces: list[tuple[str, bool]]
    """The text of each token, and whether it counts for the loss."""
    truncated: bool = False
    """More tokens follow than are shown here."""


class Step(BaseModel):
    """A logged step. One that is computed again after a crash is recorded again: the later record counts."""

    kind: Literal["step"] = "step"
    step: int
    tokens: int = 0
    """Tokens that the model has been trained on so far."""
    figures: dict[str, float | None]
    """loss, lr, grad_norm, tokens_per_second; for RL also reward, reward_std, kl, entropy, ratio,
    clip_fraction, length, clipped, logprob, repetition. None: not a finite number."""


class Evaluated(BaseModel):
    """An evaluation in the middle of training."""

    kind: Literal["evaluated"] = "evaluated"
    step: int
    task: str
    samples: int
    right: int
    reasons: dict[str, int] = {}
    """Counts of parsed, unparsed, truncated, empty."""
    disagree: int = 0
    seconds: float
    verdicts: dict[str, str] = {}
    """Sample → right, wrong or no_answer."""
    best: bool = False
    """No evaluation before was better."""


class Saved(BaseModel):
    """A checkpoint is whole on the instance's disk."""

    kind: Literal["saved"] = "saved"
    step: int
    name: str
    bytes: int
    sha: str
    seconds: float


class Exported(BaseModel):
    """The trained model as one folder that any library loads."""

    kind: Literal["exported"] = "exported"
    name: str
    step: int
    bytes: int
    difference: float
    """The largest difference between its logits and those of the trained model, relative to the largest."""


class Guarded(BaseModel):
    """The collapse guard has fired, and this was done."""

    kind: Literal["guarded"] = "guarded"
    step: int
    rule: str
    message: str
    action: Literal["alarm", "pause", "rollback", "stop"]
    to_step: int | None = None
    """For `rollback`: the step that training went back to."""
    lr_factor: float = 1.0
    """For `rollback`: what the order's learning rate is multiplied with from there on."""


class Ask(Strict):
    """What a user asks of a training that runs. It is done at the end of a step, once."""

    id: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    action: Literal["pause", "rollback", "ignore"]
    """End at a checkpoint of this step, to be resumed; go back to an earlier checkpoint with a lower learning
    rate; let the collapse guard find nothing for a while."""
    before: int | None = None
    """For `rollback`: only to a checkpoint of that step or an earlier one. None: the newest."""
    lr: float = Field(default=0.5, gt=0, le=1)
    """For `rollback`: the factor that the learning rate is multiplied with."""
    steps: int = Field(default=50, ge=1)
    """For `ignore`: for so many steps."""


class Steered(BaseModel):
    """What a user has asked for was done at the end of this step."""

    kind: Literal["steered"] = "steered"
    id: str
    """The ask's."""
    step: int
    action: Literal["pause", "rollback", "ignore"]
    to_step: int | None = None
    """For `rollback`: the step that training went back to."""
    lr_factor: float = 1.0
    """For `rollback`: what the order's learning rate is multiplied with from there on."""
    until: int | None = None
    """For `ignore`: the last step at which the guard finds nothing."""


class Continued(BaseModel):
    """A worker goes on from a checkpoint of an earlier one."""

    kind: Literal["continued"] = "continued"
    step: int
    name: str
    refused: list[str] = []
    """Newer checkpoints that were not whole, with the reason."""


TrainRecord = Annotated[
    TrainPlanned | Seen | Step | Evaluated | Saved | Exported | Guarded | Steered | Continued,
    Field(discriminator="kind"),
]
