"""TRL's trainers, with three things changed: checkpoints are whole or not there, figures that TRL leaves out
are measured, and nothing is written where nobody asked. The training itself is TRL's.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from remote_agent.train_protocol import TrainSpec
from remote_agent.training.guard import repetition

UNCLIPPED = 1e6
"""A clip range that never binds."""

Save = Callable[[int, Callable[[Path], None]], None]
"""Makes the checkpoint of a step: called with a function that writes it into a folder."""


class AtomicCheckpoints:
    """Lets a trainer write its checkpoint into a folder aside; who put `save` there makes it whole."""

    save: Save
    """To be set before training begins."""
    _aside: Path | None = None

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.save(self.state.global_step, lambda folder: self._write_into(folder, model, trial))  # type: ignore[attr-defined]

    def _write_into(self, folder: Path, model: Any, trial: Any) -> None:
        """Let transformers write its `checkpoint-N`, and move what is in it into `folder`."""
        # Every process writes its part into the same place; the first one alone moves it.
        together: Callable[[], None] = self.accelerator.wait_for_everyone  # type: ignore[attr-defined]
        self._aside = folder.parent / f"{folder.name}.trainer"
        together()
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            together()
            if self.is_world_process_zero():  # type: ignore[attr-defined]
                (written,) = self._aside.glob("checkpoint-*")
                for path in written.iterdir():
                    path.rename(folder / path.name)
                shutil.rmtree(self._aside, ignore_errors=True)
        finally:
            self._aside = None

    def _get_output_dir(self, trial: Any) -> str:
        if self._aside is not None:
            return str(self._aside)
        return str(super()._get_output_dir(trial))  # type: ignore[misc]

    def create_model_card(self, *_args: Any, **_kwargs: Any) -> None:
        """A card of ours would say nothing that the contract beside the weights does not."""


class Supervised(AtomicCheckpoints, SFTTrainer):
    """SFT on rows that are tokens and labels already."""


class Rewarded(AtomicCheckpoints, GRPOTrainer):
    """GRPO that also logs the mean probability ratio, the answers' log-probability and their repetition."""

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._seen_logps = result[0].detach()
        return result

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        loss = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
        mask = inputs["completion_mask"]
        logps, count = self._seen_logps, mask.sum().clamp(min=1)
        old = inputs.get("old_per_token_logps")
        ratio = torch.ones_like(logps) if old is None else torch.exp(logps - old)
        mode = "train" if self.model.training else "eval"
        for name, values in (("ratio/mean", ratio), ("logprob/mean", logps)):
            mean = (values * mask).sum() / count
            self._metrics[mode][name].append(self.accelerator.gather(mean).nanmean().item())
        loops = [
            repetition(ids[keep.bool()].tolist())
            for ids, keep in zip(inputs["completion_ids"], mask, strict=True)
        ]
        mean = torch.tensor(sum(loops) / max(1, len(loops)), device=mask.device)
        self._metrics[mode]["repetition"].append(self.accelerator.gather(mean).mean().item())
        return loss


FIGURES = {
    "loss": "loss",
    "learning_rate": "lr",
    "grad_norm": "grad_norm",
    "reward": "reward",
    "reward_std": "reward_std",
    "kl": "kl",
    "entropy": "entropy",
    "ratio/mean": "ratio",
    "clip_ratio/region_mean": "clip_fraction",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "clipped",
    "frac_reward_zero_std": "no_signal",
    "logprob/mean": "logprob",
    "repetition": "repetition",
    "mean_token_accuracy": "token_accuracy",
    "num_tokens": "tokens",
}
"""TRL's names of figures, and ours."""


def figures(logs: dict[str, Any]) -> dict[str, float]:
    """What of a trainer's log line is a figure of ours; NaN where it logged none for lack of a finite one."""
    return {
        ours: float("nan") if logs[theirs] is None else float(logs[theirs])
        for theirs, ours in FIGURES.items()
        if theirs in logs
    }


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """For a journal: JSON has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def sft_config(train: TrainSpec, folder: Path, cpu: bool, dtype: torch.dtype) -> SFTConfig:
    """What the order says, as TRL takes it."""
    return SFTConfig(
        **_common(train, folder, cpu, dtype),
        max_length=None,  # rows are never cut: the preflight has refused those that are too long
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def rl_config(train: TrainSpec, folder: Path, cpu: bool, dtype: torch.dtype) -> GRPOConfig:
    """GRPO as it is; PPO's clipped objective over several passes; the plain policy gradient.

    A generation batch holds the answers of one accumulated step, used `passes` times.
    """
    plain = train.method == "pg"
    return GRPOConfig(
        **_common(train, folder, cpu, dtype),
        num_generations=train.generations,
        steps_per_generation=train.accumulate,
        num_iterations=train.passes,
        max_completion_length=train.max_new_tokens,
        temperature=train.temperature,
        beta=train.kl,
        epsilon=UNCLIPPED if plain else train.epsilon,
        loss_type="dr_grpo" if plain else "grpo",
        scale_rewards="none" if plain else "group",
        use_vllm=train.vllm,
        reward_weights=[reward.weight for reward in train.rewards],
        log_completions=False,
    )


def _common(train: TrainSpec, folder: Path, cpu: bool, dtype: torch.dtype) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "max_steps": train.steps,
        "per_device_train_batch_size": train.batch_size,
        "gradient_accumulation_steps": train.accumulate,
        "learning_rate": train.lr,
        "warmup_steps": math.ceil(train.warmup * train.steps),
        "lr_scheduler_type": train.schedule,
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_grad_norm,
        "seed": train.seed,
        "data_seed": train.seed,
        "logging_strategy": "steps",
        "logging_steps": train.log_every,
        # A loss that is NaN is to be seen, not replaced by the mean of those before it.
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": train.checkpoint_every,
        "eval_strategy": "no",
        "report_to": "none",  # mirrors are fed from what the journal holds
        "disable_tqdm": True,
        "use_cpu": cpu,
        "bf16": not cpu and dtype is torch.bfloat16,
        "fp16": False,
        "gradient_checkpointing": not cpu,
        "remove_unused_columns": False,
        "ddp_backend": "gloo" if cpu and train.processes > 1 else None,
        "ddp_find_unused_parameters": False if train.processes > 1 else None,
    }
