"""The script somebody with TRL would write: its SFTTrainer on prompts and completions, with PEFT's LoRA.

python -m benchmarks.train.pace_peer QUESTION OUT: QUESTION is a JSON object with `model`, `rows` (a JSONL
file of `prompt` and `completion`, chats), `dtype`, `threads`, `steps`, `batch_size`, `lr`, `r`, `alpha` and
`save` (a folder); OUT becomes one, see `stopwatch.py`, with `losses` and `tokens` (so far) of each step.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.train.stopwatch import Stopwatch


def main(question: Path, out: Path) -> None:
    """Train, and note what it took."""
    asked = json.loads(question.read_text())
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    torch.set_num_threads(asked["threads"])
    cpu = not torch.cuda.is_available()
    watch = Stopwatch(1)
    watch.attach(SFTTrainer)
    rows = [json.loads(line) for line in Path(asked["rows"]).read_text().splitlines()]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(asked["model"], dtype=getattr(torch, asked["dtype"])),
        processing_class=AutoTokenizer.from_pretrained(asked["model"]),
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=asked["r"], lora_alpha=asked["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        args=SFTConfig(
            output_dir=asked["save"], max_steps=asked["steps"],
            per_device_train_batch_size=asked["batch_size"],
            learning_rate=asked["lr"], lr_scheduler_type="cosine", logging_steps=1, save_steps=asked["steps"],
            report_to="none", disable_tqdm=True, use_cpu=cpu, seed=0, data_seed=0, max_length=1024,
            bf16=not cpu and asked["dtype"] == "bfloat16", gradient_checkpointing=not cpu,
        ),
    )  # fmt: skip
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    found = {
        **watch.facts(),
        "losses": [entry["loss"] for entry in logged],
        "tokens": [entry["num_tokens"] for entry in logged],
        "device": "cpu" if cpu else torch.cuda.get_device_name(),
    }
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
