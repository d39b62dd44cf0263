"""Records of made-up runs, for tests that read or compare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpusess.analysis.answers import SampleIndex
from gpusess.analysis.compare import Side
from gpusess.sessions.answers import read_run
from remote_agent import protocol
from remote_agent.journal import encode

SETTINGS = {"task": "t", "few-shots": "none", "sampling": "greedy", "extractor": "hashes"}


def planned(total: int, **changes: Any) -> dict[str, Any]:
    fields = {
        "task": "t", "samples": total, "candidates": 1, "total": total, "plan_sha": "s", "data": "d",
        "model": "m", "engine": "e", "dtype": "float32", "headline": "hashes", "settings": SETTINGS, **changes,
    }  # fmt: skip
    return protocol.payload(protocol.Planned.model_validate(fields))


def result(sample: int | str, right: bool, **changes: Any) -> dict[str, Any]:
    fields = {
        "task": "t", "sample": f"s{sample}", "category": "", "verdict": "right" if right else "wrong",
        "reason": "parsed", "extracted": "1" if right else "2", "rule": "hashes", "gold": "1",
        "completion": "#### 1" if right else "#### 2", "prompt_sha": f"{hash(sample):x}", "tokens_in": 10,
        "tokens_out": 4, "finish": "stop", "seconds": 1.0, **changes,
    }  # fmt: skip
    return protocol.payload(protocol.Result.model_validate(fields))


def journal(folder: Path, records: Sequence[dict[str, Any]]) -> Path:
    """A mirror with these records."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (encode(record, seq, 1000.0 + seq) for seq, record in enumerate(records))
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    return folder


def side(folder: Path, verdicts: Sequence[bool], index: SampleIndex, **changes: Any) -> Side:
    """A complete run whose samples are numbered, read back from its mirror."""
    records = [planned(len(verdicts), **changes), *(result(i, right) for i, right in enumerate(verdicts))]
    run = read_run(folder.name, journal(folder, records), index)
    return Side(run.label, run.state, run.answers)
