"""vLLM alone on given prompts, in its own environment: what there is to be had without a journal or a grade.

python -m benchmarks.eval.bare_vllm QUESTION OUT: QUESTION is a JSON object with `model`, `dtype`, `tokens`
(most new ones), `at_once` and `prompts`; OUT becomes one with CPU and wall seconds of the requests and the
texts.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.generation_ours import tree_cpu


def main(question: Path, out: Path) -> None:
    """All prompts in one call."""
    import vllm

    asked = json.loads(question.read_text())
    llm = vllm.LLM(
        model=asked["model"], dtype=asked["dtype"], max_model_len=asked["length"],
        max_num_seqs=asked["at_once"], enforce_eager=True, gpu_memory_utilization=asked["memory"],
        disable_log_stats=True,
    )  # fmt: skip
    tokenizer = llm.get_tokenizer()
    prompts = [
        {"prompt_token_ids": tokenizer(text, add_special_tokens=False)["input_ids"]}
        for text in asked["prompts"]
    ]
    params = vllm.SamplingParams(temperature=0.0, max_tokens=asked["tokens"])
    # The worker's dry batch has warmed its engine up as well.
    llm.generate(prompts[:4], vllm.SamplingParams(temperature=0.0, max_tokens=1), use_tqdm=False)
    cpu, wall = tree_cpu(), time.perf_counter()
    done = llm.generate(prompts, params, use_tqdm=False)
    found = {
        "cpu": tree_cpu() - cpu,
        "wall": time.perf_counter() - wall,
        "texts": [o.outputs[0].text for o in done],
    }
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
