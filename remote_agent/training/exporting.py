"""The trained model as one folder: whole weights, tokenizer and chat template together.

It is loaded again before it counts, and must compute what the trained model computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROBE = "The quick brown fox counts 1, 2, 3."
LARGEST_DIFFERENCE = 0.02
"""Of the logits, relative to the largest one. Merging rounds: in bfloat16 to about 3 digits."""


class ExportFailed(Exception):
    """What was written does not compute what was trained; the message says how far it is off."""


def export(model: Any, tokenizer: Any, folder: Path) -> float:
    """Write the model into `folder` and load it again; the largest relative difference of its logits.

    model: with adapters, which are merged into a copy of the weights, or without. Raises ExportFailed.
    """
    model.eval()
    trained = _logits(model, tokenizer)
    whole = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=whole.dtype).to(whole.device).eval()
    loaded = _logits(again, AutoTokenizer.from_pretrained(folder))
    difference = float((trained - loaded).abs().max() / trained.abs().max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportFailed(
            f"the exported model is off by {difference:.1%} of the largest logit when it is loaded again; "
            "the checkpoints are whole: export from one of them"
        )
    return difference


def _logits(model: Any, tokenizer: Any) -> torch.Tensor:
    ids = torch.tensor([tokenizer(PROBE)["input_ids"]], device=next(model.parameters()).device)
    with torch.inference_mode():
        logits: torch.Tensor = model(ids).logits.float()
    return logits
