"""How fast answers come: beside the peer at its best batch size, with what the machine offers, and under
vLLM.

The questions are the first of GSM8K, asked as the package asks them, greedily. CPU seconds are the figure,
since wall time hangs on what else the machine does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.eval.sides import (
    NO_DATA,
    VLLM_ENV,
    Ours,
    Theirs,
    cost_of,
    data,
    ours,
    rows_of,
    theirs,
    write_rows,
)
from benchmarks.generation import PEER, environment, model_folder, peer_python
from benchmarks.machine import run
from benchmarks.rows import Line, Note, Row, Skipped
from remote_agent.protocol import EngineSpec, GenerateSpec, TaskSpec
from remote_agent.tasks.gsm8k import ASKED

QUESTIONS, TOKENS, PEER_BATCH = 32, 128, 32
"""The peer's best batch size was found by trying 1, 8, 16 and 32: 239, 83, 64 and 61 CPU seconds."""
ROUNDS, QUICK_QUESTIONS, QUICK_TOKENS = 2, 16, 48
"""Rounds under vLLM, whose goal is the narrow one; the others take one."""
LENGTH, MEMORY, AT_ONCE = 1024, 0.2, 32
JOURNAL_LIMIT = 2.0
"""Percent of the evaluation's wall time."""
_PEER_TASK = """\
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {path}}}}}
validation_split: validation
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["<|im_end|>"], do_sample: false, max_gen_toks: {tokens}}}
metric_list: [{{metric: exact_match}}]
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs of this group share."""

    scratch: Path
    model: Path
    questions: Path
    count: int
    tokens: int
    rounds: int

    def ours(self, name: str, engine: EngineSpec, python: str = sys.executable) -> Ours:
        spec = TaskSpec(name="gsm8k", path=str(self.questions))
        generate = GenerateSpec(max_tokens=self.tokens)
        return ours(self.scratch / name, self.model, spec, engine, generate, python)

    def theirs(self, name: str) -> Theirs:
        task = {"bench": _PEER_TASK.format(path=self.questions, tokens=self.tokens)}
        return theirs(self.scratch / name, self.model, task, PEER_BATCH, template=True)


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    model, rows = model_folder(), data("gsm8k/test.jsonl")
    if isinstance(model, str) or rows is None:
        why = model if isinstance(model, str) else NO_DATA
        yield from (Skipped(name, why) for name in ("generation", "vllm beside bare vllm", "journal"))
        return
    with tempfile.TemporaryDirectory(prefix="gpusess-bench-") as scratch:
        count, tokens = (QUICK_QUESTIONS, QUICK_TOKENS) if quick else (QUESTIONS, TOKENS)
        asked = [
            {**row, "prompt": f"{row['question']}\n\n{ASKED.instruction}"} for row in rows_of(rows)[:count]
        ]
        questions = write_rows(Path(scratch) / "questions.jsonl", asked)
        bench = Bench(Path(scratch), model, questions, count, tokens, 1 if quick else ROUNDS)
        peer, half = yield from _beside_the_peer(bench)
        under_vllm = yield from _under_vllm(bench)
        if peer is not None:
            best = bench.count / min(filter(None, (half, under_vllm)))
            name = "questions a cpu s, best of bfloat16"
            yield Row(name, best, bench.count / peer, "/s", "peer", PEER, True, 3, 2.5)
            yield Note(_beside("bfloat16, transformers", half, peer))
            yield Note(_beside("bfloat16, vllm", under_vllm, peer))


def _beside(name: str, ours: float | None, peer: float) -> str:
    """One way's pace beside the peer's, for a note."""
    return f"{name}: not measured" if ours is None else f"{name}: {peer / ours:.2f}x the peer's pace"


def _beside_the_peer(bench: Bench) -> Generator[Line, None, tuple[float | None, float]]:
    """Rows in float32; returns CPU seconds of the peer's requests (None: no peer), of ours in bfloat16."""
    available, why = peer_python()
    mine = bench.ours("ours", _engine("float32"))
    peer = bench.theirs("peer") if available else None
    half = bench.ours("half", _engine("bfloat16"))
    if peer is None:
        yield from (Skipped(f"questions a cpu s, {name}", why) for name in ("float32", "best of bfloat16"))
    else:
        for name, a, b in (
            ("request phase", mine.request, peer.request),
            ("whole process", mine.whole.cpu, peer.whole.cpu),
        ):
            paces = bench.count / a, bench.count / b
            yield Row(f"questions a cpu s, {name}", *paces, "/s", "peer", PEER, True, 3, 1.3)
        texts = {s["doc_id"]: s["resps"][0][0] for s in peer.samples["bench"]}
        same = sum(r["completion"] == texts[n] for n, r in enumerate(mine.results))
        yield Row("answers of the same text", same, bench.count, "rows", "peer", PEER, True, 0)
        yield Note(f"{PEER}, batch {PEER_BATCH}: {cost_of(peer)}")
    yield Note(f"ours, float32: {cost_of(mine)}; {_right(mine)} of {bench.count} right")
    yield Note(f"ours, bfloat16: {cost_of(half)}; {_right(half)} of {bench.count} right")
    yield Row("journal, share of the time", 100 * mine.journal / mine.wall, JOURNAL_LIMIT, "%")
    return None if peer is None else peer.request, half.request


def _under_vllm(bench: Bench) -> Generator[Line, None, float | None]:
    """Beside bare vLLM on the same prompts and in the same environment; returns our requests' CPU seconds."""
    python = os.environ.get(VLLM_ENV)
    if python is None:
        yield Skipped("vllm beside bare vllm", f"{VLLM_ENV} names no interpreter that has vLLM")
        return None
    mine: list[Ours] = []
    bare: list[dict[str, float]] = []
    for number in range(bench.rounds):
        mine.append(bench.ours(f"vllm-{number}", _engine("bfloat16", "vllm"), python))
        bare.append(_bare(bench, python, number))
    cpu, other = (
        bench.count / median(values) for values in ([m.request for m in mine], [b["cpu"] for b in bare])
    )
    yield Row("vllm, questions a cpu s", cpu, other, "/s", "peer", "bare vllm", True, 3, 0.97)
    share = median(100 * m.journal / m.wall for m in mine)
    yield Row("vllm, journal's share of the time", share, JOURNAL_LIMIT, "%")
    walls = ", ".join(f"{m.wall:.1f} and {b['wall']:.1f}" for m, b in zip(mine, bare, strict=True))
    seconds = ", ".join(f"{m.request:.1f} and {b['cpu']:.1f}" for m, b in zip(mine, bare, strict=True))
    yield Note(
        f"ours and bare: {seconds} cpu s, {walls} s of wall time; {_right(mine[0])} of {bench.count} right"
    )
    return median(m.request for m in mine)


def _bare(bench: Bench, python: str, number: int) -> dict[str, float]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bench.model)
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": row["prompt"]}], tokenize=False, add_generation_prompt=True
        )
        for row in rows_of(bench.questions)
    ]
    question, out = bench.scratch / f"bare-{number}.json", bench.scratch / f"bare-out-{number}.json"
    asked = {
        "model": str(bench.model), "dtype": "bfloat16", "tokens": bench.tokens, "length": LENGTH,
        "memory": MEMORY, "at_once": AT_ONCE, "prompts": prompts,
    }  # fmt: skip
    question.write_text(json.dumps(asked))
    settings = {
        "TORCH_COMPILE_DISABLE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_CPU_OMP_THREADS_BIND": "0",
    }  # fmt: skip
    run([python, "-m", "benchmarks.eval.bare_vllm", str(question), str(out)], {**environment(), **settings})
    found: dict[str, float] = json.loads(out.read_text())
    return found


def _engine(dtype: str, name: str = "transformers") -> EngineSpec:
    more = {"max_model_len": LENGTH, "memory": MEMORY, "concurrency": AT_ONCE} if name == "vllm" else {}
    return EngineSpec.model_validate(
        {"name": name, "dtype": dtype, "batch_size": "auto", "threads": 1, **more}
    )


def _right(side: Ours) -> int:
    return sum(r["verdict"] == "right" for r in side.results)
