"""Makes successive checkpoints to measure with: the small chat model, trained for some steps.

python -m benchmarks.sync.fine_tune FOLDER MODEL CHECKPOINTS STEPS: weights are trained in float32 with AdamW,
learning rate 1e-5, on word problems; FOLDER/<n>/model.safetensors holds them in bfloat16 after n × STEPS of
them. That is the harder case: weights that are trained in bfloat16 stand still more often.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BATCH, TOKENS, RATE = 4, 128, 1e-5


def main(folder: Path, model_path: str, count: int, steps: int) -> None:
    """Write them all."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    lines = (
        resources.files("remote_agent").joinpath("tasks/data/word_problems.jsonl").read_text().splitlines()
    )
    texts = [" ".join(str(value) for value in json.loads(line).values()) for line in lines]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    for step in range(count * steps):
        if step % steps == 0:
            _save(model, folder / str(step // steps))
        batch = [texts[(step * BATCH + i) % len(texts)] for i in range(BATCH)]
        encoded = tokenizer(batch, return_tensors="pt", padding=True, truncation=True, max_length=TOKENS)
        labels = encoded.input_ids.masked_fill(encoded.attention_mask == 0, -100)
        model(**encoded, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    _save(model, folder / str(count))


def _save(model: torch.nn.Module, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    # The output layer shares the embedding's weights: they are stored once, as transformers does.
    weights = {
        name: value.detach().to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
