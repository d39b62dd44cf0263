"""From the order to a trainer: the model to train, with adapters or without, and TRL's trainer around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from remote_agent.engines.transformers import TransformersEngine
from remote_agent.train_protocol import LoraSpec, TrainSpec
from remote_agent.training import trainers
from remote_agent.training.actor import Actor
from remote_agent.training.watch import Watch


class Build:
    """Makes a trainer for each pass: after a rollback nothing of the collapsed one is kept."""

    def __init__(
        self,
        train: TrainSpec,
        engine: TransformersEngine,
        run: Path,
        data: Dataset,
        functions: list[Any],
        actor: Actor | None = None,
    ) -> None:
        self._train = train
        self._engine = engine
        self._run = run
        self._data = data
        self._functions = functions
        self._actor = actor
        self._dtype: torch.dtype = getattr(torch, engine.dtype)
        self.model: Any = self._load()

    def _load(self) -> Any:
        """The model that training begins with. Full training keeps the weights in float32."""
        lora, dtype = self._train.lora, self._dtype
        settings: dict[str, Any] = {"dtype": dtype if lora else torch.float32}
        if lora and lora.quantise == "4bit":
            settings["quantization_config"] = _four_bit(dtype)
        model = AutoModelForCausalLM.from_pretrained(self._engine.folder, **settings)
        if lora is None:
            return model
        torch.manual_seed(self._train.seed)
        return get_peft_model(model, _adapter(lora))

    def trainer(self, watch: Watch, save: trainers.Save) -> Any:
        """A trainer over a fresh copy of the model, or the first one's."""
        model, self.model = self.model if self.model is not None else self._load(), None
        if self._actor is not None:
            self._actor.follow(model)
        cpu = not torch.cuda.is_available()
        common = {"model": model, "processing_class": self._engine.tokenizer, "callbacks": [watch]}
        folder = self._run / "trainer"
        if self._train.method == "sft":
            config: Any = trainers.sft_config(self._train, folder, cpu, self._dtype)
            trainer: Any = trainers.Supervised(args=config, train_dataset=self._data, **common)
        else:
            config = trainers.rl_config(self._train, folder, cpu, self._dtype)
            trainer = trainers.Rewarded(
                args=config, train_dataset=self._data, reward_funcs=self._functions, **common
            )
        trainer.save = save
        return trainer


def _adapter(lora: LoraSpec) -> LoraConfig:
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT divides it by r: any number will do
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )


def _four_bit(dtype: torch.dtype) -> Any:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
    )
