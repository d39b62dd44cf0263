"""What would be paid for in vain is refused before the first step: answers in another format than the
evaluation reads, and chat markers that the tokenizer does not know.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.generation import model_folder
from benchmarks.machine import BenchmarkBroken
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.train import problems, runs

SOON = 60.0
"""Seconds from the start of the supervisor to its end."""
BOXED: dict[str, Any] = {
    "name": "own",
    "own": {
        "prompt": "{{question}}",
        "metric": "number",
        "instruction": "Write the answer in \\boxed{}.",
        "line": "\\boxed{{}}",
    },
}
LLAMA_3_1 = "<|system|>\nYou solve word problems.\n<|user|>\n"
"""Markers of another family, as they were sent to Llama 3.1, whose tokenizer takes them apart."""


def measure(_quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    names = ("#### trained, \\boxed tested: refused", "markers that are no tokens: refused")
    model = model_folder()
    if isinstance(model, str):
        yield from (Skipped(name, model) for name in names)
        return
    with tempfile.TemporaryDirectory(prefix="gpusess-train-") as scratch:
        folder = Path(scratch)
        learned, tested = problems.write(folder / "data", 60, 20)
        yield from _refused(
            names[0], folder / "format", model, {**BOXED, "path": str(tested)}, learned, "hashes"
        )
        marked = _with_markers(learned, folder / "marked.jsonl")
        yield from _refused(names[1], folder / "markers", model, {"path": str(tested)}, marked, "<|system|>")


def _refused(
    name: str, folder: Path, model: Path, task: dict[str, Any], rows: Path, said: str
) -> Iterator[Line]:
    """Start the training; it must end by itself, with `said` in its last words, before any step."""
    run = runs.order(folder, model, task, {"method": "sft", "data": {"path": str(rows)}, "steps": 4})
    started = time.monotonic()
    run.start()
    try:
        ended = run.wait(limit=3 * SOON)
    finally:
        run.stop()
    seconds = time.monotonic() - started
    message = next((r["message"] for r in run.of_kind("finished")), "")
    if ended["outcome"] != "failed" or run.of_kind("step") or said not in message:
        raise BenchmarkBroken(f"{name}: ended {ended['outcome']}: {ended['message']}")
    yield Row(name, seconds, SOON, "s", digits=1)
    yield Note(message)


def _with_markers(rows: Path, path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for line in rows.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            file.write(
                json.dumps({"prompt": LLAMA_3_1 + row["question"], "completion": row["answer"]}) + "\n"
            )
    return path
