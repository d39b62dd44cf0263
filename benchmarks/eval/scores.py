"""Parity on HellaSwag: the same scores as the peer's, and the CPU seconds that both take for them.

Both sides read the same rows; the peer's task is its own template and choices over them. Other tasks are in
`verdicts.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.eval import peer_tasks
from benchmarks.eval.pairs import paired
from benchmarks.eval.sides import NO_DATA, cost_of, data, ours, peer_module, theirs
from benchmarks.generation import PEER, model_folder, peer_python
from benchmarks.rows import Line, Note, Row, Skipped
from remote_agent.protocol import EngineSpec, TaskSpec

ENGINE = EngineSpec(name="transformers", dtype="float32", batch_size="auto", threads=1)
LIMIT = 1e-4
"""Nats by which a log-likelihood may differ: the peer's own differ by 2.3e-5 between batch sizes."""


def measure(_quick: bool) -> Iterator[Line]:
    """The rows of this group. The scores are the same each time, so one round is enough."""
    names = ["hellaswag, largest difference", "hellaswag, cpu s, whole process"]
    model = unavailable()
    if isinstance(model, str):
        yield from (Skipped(name, model) for name in names)
        return
    with tempfile.TemporaryDirectory(prefix="gpusess-bench-") as scratch:
        yield from _hellaswag(Path(scratch), model)


def unavailable() -> Path | str:
    """The model's folder, or why nothing can be compared."""
    model = model_folder()
    _, why = peer_python()
    if data("hellaswag") is None:
        why = why or NO_DATA
    return why or model


def _hellaswag(scratch: Path, model: Path) -> Iterator[Line]:
    rows = data("hellaswag/val_first200.jsonl")
    assert rows is not None
    yaml = peer_tasks.rows(rows) + peer_tasks.scored("{{query}}", "choices", '"{{label}}"')
    task = {"hs": f"{yaml}process_docs: !function utils.process_docs\n"}
    utils = peer_module("hellaswag/utils.py")
    mine = ours(scratch / "hs", model, TaskSpec(name="hellaswag", path=str(rows)), ENGINE)
    peer = theirs(scratch / "hs-peer", model, task, batch=8, modules=[utils])
    pairs = paired(mine.results, peer.samples["hs"])
    worst = max(pair.distance for pair in pairs)
    yield Row("hellaswag, largest difference", worst * 1e6, LIMIT * 1e6, "µnat", digits=0)
    yield Row(
        "hellaswag, same argmax", sum(p.same_choice for p in pairs), len(pairs), "rows", "peer", PEER, True, 0
    )
    for metric in ("acc", "acc_norm"):
        same = sum(p.same([metric]) for p in pairs)
        yield Row(f"hellaswag, same {metric}", same, len(pairs), "rows", "peer", PEER, True, 0)
    for name, side in (("request phase", "request"), ("whole process", "whole")):
        a, b = (one.request if side == "request" else one.whole.cpu for one in (mine, peer))
        yield Row(f"hellaswag, cpu s, {name}", a, b, "s", "peer", PEER, digits=1, times=2.0)
    means = {m: sum(p.ours["metrics"][m] for p in pairs) / len(pairs) for m in ("acc", "acc_norm")}
    yield Note(f"acc {means['acc']:.3f}, acc_norm {means['acc_norm']:.3f} of {len(pairs)} rows on both sides")
    yield Note(f"ours: {cost_of(mine)}")
    yield Note(f"{PEER}: {cost_of(peer)}")
