"""A sweep in a spec: what it needs, what it excludes, and the order that it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpusess.spec import load_spec
from gpusess.spec.models import order_for

from .saying import said_of

HEAD = """name: t
resources: {provider: local}
runs:
  - {name: sft, model: org/m, task: {name: gsm8k}, train: {method: sft, data: {path: rows.jsonl}, steps: 2}}
  - name: s
    model: org/m
    task: {name: gsm8k}
"""


def load(folder: Path, *lines: str) -> list[str]:
    """What is said about a run with these lines; the first of them is line 8 of the file."""
    (folder / "rows.jsonl").write_text("{}")
    return said_of(folder, HEAD + "".join(f"    {line}\n" for line in lines))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["sweep: {of: sft}"], []),
        (["kind: sweep", "sweep: {of: other/run, base: false}"], []),
        (["kind: sweep"], ["8: runs[1].kind: found 'sweep' without a section `sweep`; allowed: both together"]),
        (["kind: eval", "sweep: {of: sft}"], ["8: runs[1].kind: found 'eval' with a section `sweep`; allowed: `kind: sweep`, or none"]),
        (["sweep: {of: rft}"], ["8: runs[1].sweep.of: found 'rft'; allowed: a training of this file that is done before (sft), SESSION/RUN, or ./folder"]),
        (["sweep: {of: ./none}"], ["8: runs[1].sweep.of: found './none', which does not exist; allowed: a folder relative to the spec"]),
        (["sweep: {of: sft}", "expect: 0.5"], ["9: runs[1].expect: given for a sweep; allowed: only for other runs"]),
        (["sweep: {of: sft}", "engine: {name: recorded}"], ["9: runs[1].engine.name: found 'recorded' for a sweep; allowed: transformers, vllm"]),
        (["train: {method: sft, data: {path: rows.jsonl}, steps: 2, export: adapter}"], ["8: runs[1].train.export: found 'adapter' without `lora`; allowed: merged, where all weights are trained"]),
    ],
)  # fmt: skip
def test_what_is_said_of_a_sweep(tmp_path: Path, lines: list[str], said: list[str]) -> None:
    assert load(tmp_path, *lines) == said


def test_the_order_of_a_sweep_and_of_an_adapter(tmp_path: Path) -> None:
    assert load(tmp_path, "sweep: {of: sft, base: false}", "base: org/whole") == []
    entry = load_spec(tmp_path / "x.yaml").runs[1]
    assert entry.needs == {"transformers", "adapters"}
    order = order_for(
        entry, "s1", model="m", model_id="m", data_path=None, checkpoints="/c", base="org/whole"
    )
    assert (order.kind, order.base) == ("sweep", "org/whole")
    assert order.sweep is not None
    assert (order.sweep.folder, order.sweep.base) == ("/c", False)
