"""Two finished runs of the same task for the Results screen: prompts recorded, several rules' readings, answers that
disagree, are cut off or hostile, and a sample that could not be computed."""

from __future__ import annotations

from typing import Any

from gpusess.sessions.states import State

from .world import NOW, OFFER_H100, World

S = State
DATA = "gsm8k test (sha256 fd2f1d2b)"
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07[bold red]not markup[/] \u202egnihsilbup\u202c \x9b31m\ud83d\x00 end\n#### 7"
)

_PROMPT = (
    "A printer makes {rate} pages a minute. It runs for 45 minutes, rests for 15 minutes, and repeats. How many "
    "pages does it make in {hours} hours?\n\nThink step by step. End with #### and the number."
)
_ANSWER = (
    "Each cycle takes 45 + 15 = 60 minutes.\nIn {hours} hours there are {hours} cycles.\nEach cycle makes {rate} × 45 "
    "= {cycle} pages, which comes to {cycle} per hour.\nSo in {hours} hours it makes {hours} × {cycle} = {got} "
    "pages.\n#### {got}"
)


def build(world: World, rows: int = 60) -> None:
    """`heron-vale` (looked at) and `ibis-moor` (to compare)."""
    _session(world, "s-heron", "heron-vale", rows, seed=0)
    _session(world, "s-ibis", "ibis-moor", rows, seed=2)


def _session(world: World, id: str, name: str, rows: int, seed: int) -> None:
    way = [(S.REQUESTED, 9000), (S.LAUNCHING, 8999), (S.BOOTING, 8975), (S.CONNECTING, 8890), (S.PREPARING, 8885),
           (S.READY, 8700), (S.RUNNING, 8699), (S.DRAINING, 7300), (S.TERMINATING, 7280), (S.TERMINATED, 7262)]  # fmt: skip
    world.session(
        id, name, [(s, float(t)) for s, t in way], ["gsm8k-8shot"],
        offer=OFFER_H100, price=2.49, launched=NOW - 8999, ended=NOW - 7262, instance_id=f"i-{id}",
    )  # fmt: skip
    world.store.update_run(f"{id}-0", status="complete", started=NOW - 8699, ended=NOW - 7310)
    records: list[tuple[float, dict[str, Any]]] = [(8690.0, planned(rows, "Qwen/Qwen2.5-1.5B-Instruct"))]
    records += [(8600.0 - i * 20, result(i, seed)) for i in range(rows - 1)]
    error = "the worker died of it three times: CUDA error: device-side assert"
    records.append((7320.0, {"kind": "failed", "task": "gsm8k", "sample": f"gsm8k/test/{rows - 1:04}", "candidate": 0,
                             "category": "rates", "error": error, "crashes": 3}))  # fmt: skip
    records.append((7310.0, {"kind": "finished", "outcome": "complete", "message": ""}))
    world.write(id, f"{id}-0", "journal.jsonl", records)


def planned(rows: int, model: str) -> dict[str, Any]:
    return {
        "kind": "planned", "task": "gsm8k", "samples": rows, "candidates": 1, "total": rows, "categories": {},
        "plan_sha": "ab", "data": DATA, "model": model, "engine": "vllm", "dtype": "bfloat16", "headline": "hashes",
    }  # fmt: skip


def result(i: int, seed: int = 0) -> dict[str, Any]:
    """The i-th answer of a run; runs of another seed err elsewhere."""
    rate, hours = 20 + i % 9, 2 + i % 4
    gold = rate * 45 * hours
    wrong = (i * 7 + seed * 5) % 3 == 0
    got = gold + rate * 45 * (1 + seed) if wrong else gold
    text = _ANSWER.format(rate=rate, hours=hours, cycle=rate * 45, got=got)
    cut, hostile = i % 17 == 5, i == 3
    if cut:
        text = text[: text.index("So in")]
    if hostile:
        text = HOSTILE
    read = None if cut else "7" if hostile else str(got)
    at = text.rfind(read) if read else -1
    disagree = i % 11 == 4 and not cut
    readings = {"hashes": read, "boxed": None, "last number": str(rate * 45) if disagree or cut else read}
    return {
        "kind": "result", "task": "gsm8k", "sample": f"gsm8k/test/{i:04}", "candidate": 0,
        "category": ("rates", "multi-step", "fractions")[i % 3],
        "verdict": "no_answer" if cut else "wrong" if wrong or hostile else "right",
        "reason": "truncated" if cut else "parsed", "extracted": read, "rule": None if cut else "hashes",
        "span": [at, at + len(read)] if read else None, "disagree": disagree, "gold": str(gold), "completion": text,
        "prompt_sha": "c", "tokens_in": 140 + i, "tokens_out": 256 if cut else 90 + i * 7 % 60,
        "finish": "length" if cut else "stop", "seconds": 2.1, "readings": readings,
        "marks": ["disagree"] if disagree else [], "metrics": {},
        "prompt": _PROMPT.format(rate=rate, hours=hours),
    }  # fmt: skip
