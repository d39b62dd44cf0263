"""Generation on this CPU beside lm-evaluation-harness: the same prompts, model, dtype and batch size.

Each side is a process of its own with one thread; they take turns. The peer has its own environment:

    python3 -m venv build/lmeval-venv
    build/lmeval-venv/bin/pip install "torch==2.13.0"
    build/lmeval-venv/bin/pip install "lm-eval==0.4.13" "transformers==5.23.0" "accelerate>=1.15"

GPUSESS_BENCH_PEER names the folder of another environment. GPUSESS_BENCH_GSM8K names a JSONL file of GSM8K;
without it the word problems of the package are asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import ROOT, Cost, run
from benchmarks.rows import Line, Note, Row, Skipped
from remote_agent import models
from remote_agent.journal import scan
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec
from remote_agent.tasks import word_problems
from remote_agent.tasks.gsm8k import Gsm8k

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
BATCH, TOKENS, QUESTIONS, ROUNDS = 8, 64, 32, 2
QUICK_TOKENS, QUICK_QUESTIONS = 32, 16
JOURNAL_LIMIT = 2.0
"""Percent of the evaluation's time."""
PEER = "lm-eval"
PEER_ENV, QUESTIONS_ENV = "GPUSESS_BENCH_PEER", "GPUSESS_BENCH_GSM8K"

_HERE = Path(__file__).parent
_TASK_YAML = """\
task: bench
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {path}}}}}
validation_split: validation
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["<|im_end|>"], do_sample: false, max_gen_toks: {tokens}}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One side's run. `texts`: completion of each prompt, by the SHA-256 of the prompt's text."""

    whole: Cost
    request: float
    """CPU seconds from the first request to the last answer."""
    texts: dict[str, str]
    journal_share: float = 0.0


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    names = ["questions a cpu s, request phase", "questions a cpu s, whole process"]
    tokens, count, rounds = (QUICK_TOKENS, QUICK_QUESTIONS, 1) if quick else (TOKENS, QUESTIONS, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="gpusess-bench-") as scratch:
        folder = Path(scratch)
        model = model_folder()
        if isinstance(model, str):
            yield from (Skipped(name, model) for name in [*names, "journal, share of the time"])
            return
        _write_questions(folder / "questions.jsonl", count)
        peer, why = peer_python()
        ours: list[Outcome] = []
        theirs: list[Outcome] = []
        for number in range(rounds):
            ours.append(_ours(folder / f"ours-{number}", model, folder / "questions.jsonl", tokens))
            if peer:
                theirs.append(_theirs(folder / f"peer-{number}", model, peer, folder, tokens))
    if theirs:
        for name, side in zip(names, ("request", "whole"), strict=True):
            mine, other = (count / median(_seconds(o, side) for o in runs) for runs in (ours, theirs))
            yield Row(name, mine, other, "/s", "peer", PEER, more_is_better=True, digits=3)
        yield from _notes(ours, theirs)
    else:
        yield from (Skipped(name, why) for name in names)
        yield Note(f"ours alone: {_costs(ours)}")
    share = median(outcome.journal_share for outcome in ours)
    yield Row("journal, share of the time", 100 * share, JOURNAL_LIMIT, "%")


def _seconds(outcome: Outcome, side: str) -> float:
    return outcome.request if side == "request" else outcome.whole.cpu


def _notes(ours: list[Outcome], theirs: list[Outcome]) -> Iterator[Note]:
    yield Note(f"ours: {_costs(ours)}")
    yield Note(f"{PEER}: {_costs(theirs)}")
    mine, other = ours[0].texts, theirs[0].texts
    same_prompts = mine.keys() & other.keys()
    same = sum(mine[sha] == other[sha] for sha in same_prompts)
    yield Note(
        f"{len(same_prompts)} of {len(mine)} prompts are the same bytes; {same} answers are the same text"
    )


def _costs(outcomes: list[Outcome]) -> str:
    """Each run's CPU seconds, request phase of whole process, and the largest peak of memory."""
    pairs = ", ".join(f"{o.request:.1f} of {o.whole.cpu:.1f}" for o in outcomes)
    return f"{pairs} cpu s requesting of the whole; peak {max(o.whole.peak_mib for o in outcomes):.0f} MiB"


def model_folder() -> Path | str:
    """The model's folder, or why there is none. Nothing is fetched here."""
    folder = models.cache_dir() / MODEL.replace("/", "--")
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as exc:
        return f"{exc.name} is not installed"
    if not (folder / "config.json").exists():
        return f"{MODEL} is not on this machine yet; `gpusess demo` fetches it"
    return folder


def peer_python() -> tuple[Path | None, str]:
    """The peer's interpreter, or why there is none."""
    folder = Path(os.environ.get(PEER_ENV) or ROOT / "build/lmeval-venv")
    python = folder / "bin/python"
    if not any(folder.glob("lib/python*/site-packages/lm_eval/__init__.py")):
        return (
            None,
            f"no lm-eval in {os.environ.get(PEER_ENV) or 'build/lmeval-venv'}: see benchmarks/README.md",
        )
    return python, ""


def _write_questions(path: Path, count: int) -> None:
    """GSM8K rows, with the text that each user turn has as `prompt` for the peer."""
    given = os.environ.get(QUESTIONS_ENV)
    source = (
        Path(given)
        if given
        else Path(word_problems.__file__).parent / "data" / word_problems.WordProblems.shipped
    )
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    rows = rows[:count] if given else random.Random(0).sample(rows, count)
    instruction = Gsm8k().answer_format(TaskSpec(name="gsm8k")).instruction
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            answer = row["answer"] if "####" in row["answer"] else f"#### {row['answer']}"
            prompt = f"{row['question']}\n\n{instruction}"
            file.write(json.dumps({"question": row["question"], "answer": answer, "prompt": prompt}) + "\n")


def environment() -> dict[str, str]:
    fixed = {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    return {**os.environ, **fixed}


def _ours(folder: Path, model: Path, questions: Path, tokens: int) -> Outcome:
    """The agent's worker on an order of its own, as the supervisor would start it."""
    folder.mkdir()
    order = Order(
        run="bench",
        name="bench",
        model=str(model),
        model_id=MODEL,
        task=TaskSpec(name="gsm8k", path=str(questions)),
        engine=EngineSpec(name="transformers", dtype="float32", batch_size=BATCH, threads=1),
        generate=GenerateSpec(max_tokens=tokens),
    )
    (folder / "order.json").write_text(order.model_dump_json())
    times = folder / "times.json"
    cost = run([sys.executable, "-m", "benchmarks.generation_ours", str(folder), str(times)], environment())
    found = json.loads(times.read_text())
    results = [r for r in scan(folder / "journal.jsonl").records if r["kind"] == "result"]
    texts = {r["prompt_sha"]: r["completion"] for r in results}
    return Outcome(cost, found["cpu"], texts, found["journal"] / found["wall"])


def _theirs(folder: Path, model: Path, python: Path, scratch: Path, tokens: int) -> Outcome:
    """The peer's own command line on a task of the same prompts."""
    folder.mkdir()
    task = _TASK_YAML.format(path=scratch / "questions.jsonl", tokens=tokens)
    (folder / "bench.yaml").write_text(task)
    times, out = folder / "times.json", folder / "out"
    # fmt: off
    command = [
        "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--tasks", "bench",
        "--include_path", str(folder), "--num_fewshot", "0", "--batch_size", str(BATCH), "--device", "cpu",
        "--apply_chat_template", "--log_samples", "--output_path", str(out),
    ]
    # fmt: on
    surroundings = {**environment(), "HF_DATASETS_CACHE": str(folder / "cache")}
    cost = run(
        [str(python), str(_HERE / "generation_peer.py"), str(times), *command], surroundings, cwd=folder
    )
    (log,) = out.rglob("samples_*.jsonl")
    samples: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    texts = {}
    for sample in samples:
        prompt = sample["arguments"]["gen_args_0"]["arg_0"]
        texts[hashlib.sha256(prompt.encode()).hexdigest()] = sample["resps"][0][0]
    return Outcome(cost, json.loads(times.read_text())["cpu"], texts)
