"""The trained model as one folder: whole weights or the adapter, with tokenizer and chat template.

It is loaded again before it counts, and must compute what the trained model computes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from remote_agent.adapters import CONFIG

PROBE = "The quick brown fox counts 1, 2, 3."
LARGEST_DIFFERENCE = 0.02
"""Of the logits, relative to the largest one. Merging rounds: in bfloat16 to about 3 digits."""


class ExportFailed(Exception):
    """What was written does not compute what was trained; the message says how far it is off."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is exported. `model` has adapters, or is whole; merging takes the adapters up for good."""

    model: Any
    tokenizer: Any
    base: Path
    """The folder that training began with."""
    base_name: str
    """How the order names it: what an adapter says of itself, so that it is found elsewhere too."""


def export(parts: Parts, kind: str, folder: Path) -> float:
    """Write `merged` or `adapter` into `folder` and load it again; the largest relative difference of its
    logits. Raises ExportFailed."""
    model, tokenizer = parts.model, parts.tokenizer
    model.eval()
    trained = _logits(model, tokenizer)
    again = (_adapter if kind == "adapter" else _merged)(parts, folder)
    tokenizer.save_pretrained(folder)
    loaded = _logits(again.eval(), AutoTokenizer.from_pretrained(folder))
    difference = float((trained - loaded).abs().max() / trained.abs().max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportFailed(
            f"the exported model is off by {difference:.1%} of the largest logit when it is loaded again; "
            "the checkpoints are whole: export from one of them"
        )
    return difference


def _merged(parts: Parts, folder: Path) -> Any:
    whole = parts.model.merge_and_unload() if isinstance(parts.model, PeftModel) else parts.model
    whole.save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=whole.dtype).to(whole.device)


def _adapter(parts: Parts, folder: Path) -> Any:
    """The adapter alone, in the form that PEFT and vLLM (`--enable-lora`) load."""
    if not isinstance(parts.model, PeftModel):
        raise ExportFailed("all weights were trained: there is no adapter to export. Next: `export: merged`")
    parts.model.save_pretrained(str(folder))
    _name_base(folder / CONFIG, parts.base_name)
    base = AutoModelForCausalLM.from_pretrained(parts.base, dtype=parts.model.dtype)
    return PeftModel.from_pretrained(base, folder).to(parts.model.device)


def _name_base(config: Path, name: str) -> None:
    """PEFT writes where the base lies on this machine; others know it by its name."""
    found = json.loads(config.read_text())
    config.write_text(json.dumps({**found, "base_model_name_or_path": name}, indent=2) + "\n")


def _logits(model: Any, tokenizer: Any) -> torch.Tensor:
    ids = torch.tensor([tokenizer(PROBE)["input_ids"]], device=next(model.parameters()).device)
    with torch.inference_mode():
        logits: torch.Tensor = model(ids).logits.float()
    return logits
