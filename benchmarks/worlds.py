"""Sessions as they lie on disk, made for the measurements: a store, mirrors, a driver's lock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpusess import paths
from gpusess.sessions.driver_lock import DriverLock
from gpusess.sessions.states import ORDER, State
from gpusess.sessions.store import Store
from remote_agent.journal import encode

LIVE, RUN = "live-session", "live-run"
NAME = "amber-finch"
FLEET_RESULTS = 200


@contextlib.contextmanager
def live_session(ended: int = 0) -> Iterator[Store]:
    """A store with `ended` sessions that are over, without mirrors, and after them one that runs and is
    driven (this process holds its lock)."""
    store = Store(paths.database())
    for i in range(ended):
        _session(store, f"old-{i:02}", f"cedar-wren-{i:02}", "svamp", f"old-{i:02}-run", State.TERMINATED)
        store.update_run(f"old-{i:02}-run", status="complete", started=time.time(), ended=time.time())
    _session(store, LIVE, NAME, "gsm8k", RUN, upto=State.RUNNING)
    store.update_run(RUN, status="running", started=time.time())
    lock = DriverLock(LIVE)
    try:
        yield store
    finally:
        lock.release()
        store.close()


@contextlib.contextmanager
def live_fleet(count: int) -> Iterator[Store]:
    """A store with so many sessions that all run and are driven, each with FLEET_RESULTS results."""
    store = Store(paths.database())
    locks = []
    for i in range(count):
        _session(store, f"fleet-{i:02}", name_of(i), "gsm8k", f"fleet-{i:02}-run", State.RUNNING)
        store.update_run(f"fleet-{i:02}-run", status="running", started=time.time())
        locks.append(DriverLock(f"fleet-{i:02}"))
        records = [*opening(5000), *(result(n) for n in range(FLEET_RESULTS))]
        with fleet_mirror(i, "journal.jsonl").open("wb") as file:
            file.writelines(encode(record, seq, time.time()) for seq, record in enumerate(records))
    try:
        yield store
    finally:
        for lock in locks:
            lock.release()
        store.close()


def name_of(number: int) -> str:
    """The name of a session of the fleet."""
    return f"cedar-wren-{number:02}"


def fleet_mirror(number: int, name: str) -> Path:
    """A file of a session of the fleet, at home."""
    path = paths.run_dir(f"fleet-{number:02}", f"fleet-{number:02}-run") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _session(store: Store, id: str, name: str, job: str, run: str, upto: State) -> None:
    store.add_session(
        id=id, name=name, job=job, provider="lambda", spec="", spec_path="", options={}, runs=[(run, job)]
    )
    for state in ORDER[1 : ORDER.index(upto) + 1]:
        store.move(id, state)
    offer = {"name": "gpu_1x_h100", "gpu": "H100 SXM", "gpus": 1, "region": "us-east-1"}
    now = time.time()
    ended = {"ended": now} if upto is State.TERMINATED else {}
    store.update(id, offer=offer, price=2.49, launched=now - 60, instance_id=f"i-{id}", **ended)


def mirror(name: str) -> Path:
    """A file of the live session's run, at home."""
    path = paths.run_dir(LIVE, RUN) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_mirror(name: str, records: list[dict[str, Any]], first: int = 0) -> None:
    """Append records to a mirror as the follower would, the first with that sequence number."""
    with mirror(name).open("ab") as file:
        for seq, record in enumerate(records, first):
            file.write(encode(record, seq, time.time()))


def opening(total: int) -> list[dict[str, Any]]:
    """What a run's journal begins with."""
    planned = {
        "kind": "planned", "task": "gsm8k", "samples": total, "candidates": 1, "total": total,
        "categories": {"one step": total // 2, "two steps": total - total // 2}, "plan_sha": "ab",
        "data": "test", "model": "HuggingFaceTB/SmolLM2-135M-Instruct", "engine": "transformers",
        "dtype": "bfloat16", "headline": "hashes, else last_number",
    }  # fmt: skip
    opened = {"kind": "opened", "attempt": 1, "pid": 4711, "agent": "8f3a21", "repaired": 0}
    return [opened, planned, {"kind": "phase", "name": "evaluate", "detail": ""}]


def result(number: int) -> dict[str, Any]:
    """One graded answer of usual size."""
    return {
        "kind": "result", "task": "gsm8k", "sample": f"test-{number:06}", "candidate": 0,
        "category": "one step" if number % 2 else "two steps", "verdict": "right" if number % 3 else "wrong",
        "reason": "parsed", "extracted": "18", "rule": "hashes", "disagree": False, "gold": "18",
        "completion": "She sells 16 - 3 - 4 = 9 eggs a day, so she makes 9 * 2 = 18 dollars.\n#### 18",
        "prompt_sha": "0123456789abcdef" * 4, "tokens_in": 142, "tokens_out": 36, "finish": "stop",
        "seconds": 1.25,
    }  # fmt: skip


def heartbeat(number: int) -> dict[str, Any]:
    """One telemetry record; its values move as real ones do."""
    gpu = {
        "index": 0, "name": "H100 SXM", "util": 88.0 + number * 7 % 12, "mem_used": 66 << 30,
        "mem_total": 80 << 30, "power": 560.0 + number * 29 % 110, "temp": 64.0,
    }  # fmt: skip
    return {
        "kind": "telemetry", "cpu": 18.0 + number * 11 % 17, "mem_used": 41 << 30, "mem_total": 225 << 30,
        "disk_free": 412 << 30, "worker_rss": 9 << 30, "gpus": [gpu],
    }  # fmt: skip
