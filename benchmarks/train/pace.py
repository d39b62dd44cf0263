"""The pace of supervised training with LoRA beside TRL's own script: the same rows in the same batches, each
side a process of its own, in turns. On a machine with a GPU wall time counts, else CPU time.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.generation import environment, model_folder
from benchmarks.machine import BenchmarkBroken, run, spread
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.train import problems, runs
from remote_agent.protocol import TaskSpec
from remote_agent.tasks.base import Sample
from remote_agent.tasks.word_problems import WordProblems

STEPS, ROUNDS, BATCH = 12, 3, 4
QUICK_STEPS, QUICK_ROUNDS = 6, 2
GPU_STEPS, GPU_BATCH = 200, 16
GOAL = 0.98
JOURNAL_LIMIT = 2.0
"""Percent of a step's wall time."""
RATE, RANK, ALPHA = 5e-4, 16, 32
PEER = "TRL"
NAMES = ("sft with lora, tokens a second", "journal, share of the steps' time")


@dataclass(frozen=True, slots=True)
class Side:
    """One side's run. `seconds`: of each timed step; `tokens`: trained on in them."""

    seconds: list[float]
    tokens: int
    saving: float
    losses: list[float]
    so_far: list[int]
    journal_share: float = 0.0


def pace(rounds: Sequence[Side]) -> float:
    """Tokens a second, each step at its quickest of all rounds: what else a machine does never saves time."""
    return rounds[0].tokens / sum(map(min, zip(*(side.seconds for side in rounds), strict=True)))


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs of this group share."""

    scratch: Path
    model: Path
    learned: Path
    tested: Path
    steps: int
    batch: int
    gpu: bool

    @property
    def dtype(self) -> str:
        return "bfloat16" if self.gpu else "float32"

    @property
    def clock(self) -> str:
        return "wall" if self.gpu else "cpu"

    def ours(self, number: int) -> Side:
        """The agent's worker on an order of its own, as the supervisor would start it."""
        train = {
            "method": "sft", "data": {"path": str(self.learned)}, "steps": self.steps,
            "batch_size": self.batch, "lr": RATE, "warmup": 0, "lora": {"r": RANK, "alpha": ALPHA},
            "eval_every": None, "save_every": self.steps,
        }  # fmt: skip
        made = runs.order(
            self.scratch / f"ours-{number}", self.model, {"path": str(self.tested)}, train,
            dtype=self.dtype, threads=1,
        )  # fmt: skip
        out = made.folder / "times.json"
        run([sys.executable, "-m", "benchmarks.train.pace_ours", str(made.folder), str(out)], environment())
        found, steps = json.loads(out.read_text()), made.of_kind("step")
        side = self._side(found, [s["figures"]["loss"] for s in steps], [s["tokens"] for s in steps])
        return dataclasses.replace(side, journal_share=found["journal"] / sum(found["wall"]))

    def theirs(self, number: int) -> Side:
        """TRL's own script."""
        folder = self.scratch / f"peer-{number}"
        folder.mkdir()
        asked = {
            "model": str(self.model), "rows": str(_as_chats(self.learned, folder / "rows.jsonl")),
            "dtype": self.dtype, "threads": 1, "steps": self.steps, "batch_size": self.batch, "lr": RATE,
            "r": RANK, "alpha": ALPHA, "save": str(folder / "out"),
        }  # fmt: skip
        (folder / "question.json").write_text(json.dumps(asked))
        out = folder / "times.json"
        command = [
            sys.executable,
            "-m",
            "benchmarks.train.pace_peer",
            str(folder / "question.json"),
            str(out),
        ]
        run(command, environment())
        found = json.loads(out.read_text())
        return self._side(found, found["losses"], [int(n) for n in found["tokens"]])

    def _side(self, found: dict[str, Any], losses: list[float], so_far: list[int]) -> Side:
        timed = len(found[self.clock])
        if timed != self.steps - 1 or len(so_far) != self.steps:
            raise BenchmarkBroken(f"{timed} of {self.steps} steps were timed")
        return Side(found[self.clock], so_far[-1] - so_far[0], found["saving"], losses, so_far)


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    model = model_folder()
    if isinstance(model, str):
        yield from (Skipped(name, model) for name in NAMES)
        return
    import torch

    gpu = torch.cuda.is_available()
    steps, rounds = (QUICK_STEPS, QUICK_ROUNDS) if quick else (STEPS, ROUNDS)
    if gpu:
        steps = GPU_STEPS
    with tempfile.TemporaryDirectory(prefix="gpusess-train-") as scratch:
        learned, tested = problems.write(Path(scratch) / "data", 240, 8)
        bench = Bench(Path(scratch), model, learned, tested, steps, GPU_BATCH if gpu else BATCH, gpu)
        pairs = [(bench.ours(number), bench.theirs(number)) for number in range(rounds)]
    mine, other = (pace(sides) for sides in zip(*pairs, strict=True))
    name = f"sft with lora, tokens a {bench.clock} second"
    yield Row(name, mine, other, "/s", "peer", PEER, more_is_better=True, digits=1, times=GOAL)
    share = median(ours.journal_share for ours, _ in pairs)
    yield Row(NAMES[1], 100 * share, JOURNAL_LIMIT, "%")
    yield from _notes(bench, pairs, torch.cuda.get_device_name() if gpu else "cpu")


def _notes(bench: Bench, pairs: list[tuple[Side, Side]], device: str) -> Iterator[Note]:
    ours, theirs = pairs[0]
    ratios = [pace([mine]) / pace([other]) for mine, other in pairs]
    same = "the same" if ours.so_far == theirs.so_far else "NOT the same"
    yield Note(
        f"{device}, {bench.dtype}: {bench.steps - 1} steps of {bench.batch} rows, {len(pairs)} rounds, "
        f"ratios {spread(ratios)}; {same} tokens in each step, {ours.tokens} in all"
    )
    yield Note(
        f"losses {ours.losses[0]:.4f} → {ours.losses[-1]:.4f}, {PEER}'s {theirs.losses[0]:.4f} → "
        f"{theirs.losses[-1]:.4f} (it counts the line end after an answer too)"
    )
    yield Note(
        f"a checkpoint: ours {median(o.saving for o, _ in pairs):.2f} s, hashed and forced to the disk; "
        f"{PEER}'s {median(t.saving for _, t in pairs):.2f} s, written in place"
    )


def _as_chats(rows: Path, path: Path) -> Path:
    """The rows as TRL takes prompts and completions, asked with the task's words as ours are."""
    task, spec = WordProblems(), TaskSpec(name="word_problems", fewshot=0)
    with path.open("w", encoding="utf-8") as file:
        for line in rows.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            prompt = task.context(Sample("", row["question"], ""), spec)
            answer = [{"role": "assistant", "content": row["answer"]}]
            file.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
    return path
