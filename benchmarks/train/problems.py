"""Word problems to learn from and others to be tested on, by the package's own generator with fixed seeds.

One addition or one subtraction each: a model of 135 million parameters learns these in minutes on two cores.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

from remote_agent.tasks import generate_word_problems as generator

CATEGORIES = ("one addition", "one subtraction")
LEARNED_SEED, HELD_OUT_SEED = 11, 12


def write(folder: Path, learned: int, held_out: int) -> tuple[Path, Path]:
    """Two JSONL files, no question in both: `learned` rows with the calculation, `held_out` with a number."""
    first = list(_some(generator.training_rows(LEARNED_SEED, learned), learned))
    known = {row["question"] for row in first}
    fresh = (row for row in generator.rows(HELD_OUT_SEED, 2 * held_out) if row["question"] not in known)
    folder.mkdir(parents=True, exist_ok=True)
    return _written(folder / "learned.jsonl", first), _written(
        folder / "held-out.jsonl", _some(fresh, held_out)
    )


def _some(rows: Iterable[dict[str, str]], count: int) -> Iterable[dict[str, str]]:
    return itertools.islice((row for row in rows if row["category"] in CATEGORIES), count)


def _written(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
