"""A small fleet as it lies on disk: a store, mirrors and logs, made by a frozen clock. One session runs at
62%, one boots, one has failed and still bills, one is done. Nothing here is random.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpusess import paths
from gpusess.errors import GpusessError
from gpusess.providers.base import Instance, InstanceStatus, Leftover, Offer
from gpusess.sessions import traffic
from gpusess.sessions.board import Board
from gpusess.sessions.driver_lock import lock_path
from gpusess.sessions.ledger import Rental
from gpusess.sessions.leftovers import Found
from gpusess.sessions.offers import Answer
from gpusess.sessions.states import State
from gpusess.sessions.store import Store
from gpusess.sessions.wizard import Estimate, Guard, Job, most
from remote_agent.journal import encode

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC).timestamp()

CATEGORIES = {"multi-step": 620, "arithmetic": 412, "fractions": 171, "rates": 116}
_SHARE = {"multi-step": 58, "arithmetic": 74, "fractions": 52, "rates": 61}


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


class FakeIntents:
    """Records what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.looks = self.looks_beside = 0
        self.beside = BESIDE
        self.answers = ANSWERS
        self.own: list[Answer] = []
        self.refuse: GpusessError | None = None
        self.argv: list[str] | None = ["ssh", "-p", "2222", "ubuntu@192.0.2.7"]

    def terminate(self, session_id: str, pull_first: bool) -> None:
        self._take("terminate", session_id, pull_first)

    def stop_run(self, session_id: str, run_id: str) -> None:
        self._take("stop_run", session_id, run_id)

    def steer(self, session_id: str, run_id: str, ask: dict[str, Any]) -> None:
        self._take("steer", session_id, run_id, ask)

    def resume(self, session_id: str) -> None:
        self._take("resume", session_id)

    def look_around(self) -> None:
        self.looks += 1

    def stranger(self, provider: str, instance_id: str, answer: str) -> None:
        self._take("stranger", provider, instance_id, answer)

    def reach(self, session_id: str) -> str:
        if self.refuse:
            raise self.refuse
        return shlex.join(self.argv) if self.argv else ""

    def leftovers(self) -> list[Found]:
        self.looks_beside += 1
        return self.beside

    def jobs(self) -> list[Job]:
        return JOBS

    def offers(self, *, ask: bool, on_answer: Callable[[Answer], None] | None = None) -> list[Answer]:
        for answer in self.answers if ask and on_answer else []:
            on_answer(answer)
        return self.answers if ask else []

    def own_machines(self, job: Job) -> list[Answer]:
        return [answer for answer in self.own if answer.provider in job.providers]

    def estimate(self, job: Job, offer: Offer, guard: Guard) -> Estimate:
        lease = f"{offer.provider} ends it by itself after {guard.lease / 60:g} min without a word"
        known = offer.name == "gpu_1x_h100"
        return Estimate(
            start=190.0 if known else None,
            starts=4 if known else 0,
            work=(2400.0, 3100.0) if known else None,
            works=3 if known else 0,
            cost=(1.79, 2.28) if known else None,
            most=most(offer.price, guard),
            lease=lease,
        )

    def launch(self, job: Job, offer: Offer, guard: Guard) -> str:
        self._take("launch", job.name, offer.name, offer.price, guard)
        return "s-amber"

    def ssh_argv(self, session_id: str) -> list[str] | None:
        return self.argv

    def _take(self, *what: Any) -> None:
        if self.refuse:
            raise self.refuse
        self.asked.append(what)


BESIDE = [
    Found("lambda", [Leftover("file system", "fs-1", "data", "us-east-1", 200.0, None, False)]),
    Found("vast", error="vast is in trouble (502)"),
    Found("shadeform", [Leftover("volume", "vol-9", "checkpoints", "denver-2", 512.0, 0.0561, True)]),
]

JOBS = [
    Job(Path("specs/gsm8k.yaml"), "gsm8k", "H100:1", "gsm8k-8shot, svamp", gpus=(("H100", 1),), providers=("lambda", "vast"), max_hours=4.0),
    Job(Path("specs/broken.yaml"), "broken", "", "", error="3: resources.gpu: found 'H100:0'; allowed: MODEL or MODEL:COUNT"),
]  # fmt: skip


def _offer(provider: str, name: str, price: float, gpu: str, **more: Any) -> Offer:
    values: dict[str, Any] = {
        "region": "us-east-1",
        "available": True,
        "gpus": 1,
        "gpu_memory_gib": 80.0,
        **more,
    }
    return Offer(provider=provider, name=name, price=price, gpu=gpu, vcpus=26, memory_gib=225.0, **values)


ANSWERS = [
    Answer("lambda", [
        _offer("lambda", "gpu_1x_h100", 2.49, "H100 SXM"),
        _offer("lambda", "gpu_1x_h100_pcie", 1.99, "H100 PCIe", available=False, region="us-west-3"),
        _offer("lambda", "gpu_1x_a10", 0.75, "A10", gpu_memory_gib=24.0),
    ], at=NOW - 4),
    Answer("vast", [_offer("vast", "12345678", 1.72, "H100 SXM", region="Sweden", spot=True)], at=NOW - 900,
           error="vast is in trouble (502)"),
]  # fmt: skip


@dataclass
class World:
    """The fleet with the handles that a test needs to change it."""

    clock: Clock
    store: Store
    locks: list[int] = field(default_factory=list)
    seq: dict[Path, int] = field(default_factory=dict)

    def board(self) -> Board:
        return Board(self.store, self.clock)

    def drive(self, session_id: str) -> None:
        """Hold the driver's lock, as a driving process would."""
        path = lock_path(session_id)
        paths.private_dir(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.locks.append(fd)

    def let_go(self) -> None:
        for fd in self.locks:
            os.close(fd)
        self.locks.clear()

    def session(
        self, id: str, name: str, states: list[tuple[State, float]], runs: list[str], **changes: Any
    ) -> None:
        """A session that went through `states` at so many seconds before now."""
        first = states[0][1]
        self.clock.now = NOW - first
        self.store.add_session(
            id=id,
            name=name,
            job=runs[0],
            provider=changes.pop("provider", "lambda"),
            spec="",
            spec_path="eval.yaml",
            options={},
            runs=[(f"{id}-{i}", run) for i, run in enumerate(runs)],
        )
        for state, before in states[1:]:
            self.clock.now = NOW - before
            self.store.move(id, state)
        self.clock.now = NOW
        self.store.update(id, **changes)
        if launched := changes.get("launched"):
            row = self.store.session(id)
            rental = Rental(f"gpusess-{id}-1", id, row.provider, "", launched, row.price, row.offer or {})
            rental.instance_id, rental.seen, rental.ended = row.instance_id, launched, row.ended
            rental.outcome = "ended" if row.ended else "launched"
            self.store.ledger.add(rental)

    def write(
        self, session_id: str, run_id: str, name: str, records: list[tuple[float, dict[str, Any]]]
    ) -> None:
        """Append records (seconds before now, record) to a mirror."""
        path = paths.run_dir(session_id, run_id) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seq = self.seq.get(path, 0)
        with path.open("ab") as file:
            for before, record in records:
                file.write(encode(record, seq, NOW - before))
                seq += 1
        self.seq[path] = seq

    def log(self, session_id: str, run_id: str, name: str, lines: list[tuple[float, str, str]]) -> None:
        """Append log lines (seconds before now, level, text) as the agent writes them."""
        folder = paths.run_dir(session_id, run_id) if run_id else paths.session_dir(session_id)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("a", encoding="utf-8") as file:
            for before, level, text in lines:
                stamp = datetime.fromtimestamp(NOW - before, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
                file.write(f"{stamp}Z {level} agent {text}\n")


OFFER_H100 = {"name": "gpu_1x_h100_sxm5", "gpu": "H100 SXM", "gpus": 1, "region": "us-east-1"}
OFFER_A100 = {"name": "gpu_2x_a100", "gpu": "A100 80G", "gpus": 2, "region": "us-west-2"}
OFFER_CPU = {"name": "local-cpu", "gpu": "", "gpus": 0, "region": "here"}

S = State


def build(home: Path) -> World:
    """The whole fleet."""
    clock = Clock()
    world = World(clock, Store(home / "gpusess.db", clock))
    _done(world)
    _failed(world)
    _booting(world)
    _running(world)
    return world


def _running(world: World) -> None:
    way = [
        (S.REQUESTED, 1700),
        (S.LAUNCHING, 1699),
        (S.BOOTING, 1678),
        (S.CONNECTING, 1570),
        (S.PREPARING, 1566),
    ]
    way += [(S.READY, 1440), (S.RUNNING, 1439)]
    world.session(
        "s-amber", "amber-finch", way, ["gsm8k-8shot", "svamp"],
        offer=OFFER_H100, price=2.49, launched=NOW - 1699, instance_id="i-1",
    )  # fmt: skip
    world.store.update_run("s-amber-0", status="running", started=NOW - 1439)
    lease = (
        "it ends itself after 30 min without a word or a working run, and at the latest at 2026-03-14 18:00"
    )
    options = {"budget": 4.0, "lease": lease, "host_key": "injected", "python": "/usr/bin/python3.11"}
    world.store.update("s-amber", options={**options, "gpus": ["NVIDIA H100 80GB HBM3"]})
    world.store.ledger.change("gpusess-s-amber-1", deadline=NOW + 10_234)
    for before, source, files, size, sent in (
        (1500, "code", 214, 3_400_000, 412_000),
        (1460, "Qwen2.5-1.5B-Instruct", 9, 3_087_000_000, 3_087_000_000),
    ):
        took = sent / 112e6
        traffic.note("s-amber", traffic.Sent(NOW - before, source, files, size, files, sent, took))
    world.drive("s-amber")
    world.write(
        "s-amber", "s-amber-0", "journal.jsonl", list(evaluation(total=1319, done=818, start=1400, pace=1.7))
    )
    world.write("s-amber", "s-amber-0", "events.jsonl", list(heartbeats(1430, 2, every=5)))
    world.log("s-amber", "", "driver.log", [(1560, "INFO", "connected to 192.0.2.7, host key matches")])
    world.log(
        "s-amber", "", "setup.log", [(1500, "INFO", "agent 8f3a21 unpacked"), (1452, "INFO", "engine ready")]
    )
    world.log("s-amber", "s-amber-0", "supervisor.log", [(1439, "INFO", "worker 4711 started, attempt 1")])
    world.log("s-amber", "s-amber-0", "worker.log", _worker_log())


def _worker_log() -> list[tuple[float, str, str]]:
    lines = [
        (1438 - i * 20, "INFO", f"batch {i + 1}: 16 prompts, {2100 + i * 37 % 400} tokens") for i in range(70)
    ]
    lines.insert(30, (830.5, "WARNING", "preempted 1 request (KV cache 98.9%)"))
    return lines


def evaluation(
    *, total: int, done: int, start: float, pace: float, ok: int = 62
) -> Iterator[tuple[float, dict[str, Any]]]:
    """The journal of an evaluation whose accuracy settles near `ok` percent."""
    model = "Qwen/Qwen2.5-1.5B-Instruct"
    yield start + 30, {"kind": "opened", "attempt": 1, "pid": 4711, "agent": "8f3a21", "repaired": 0}
    yield start + 29, {"kind": "phase", "name": "preflight", "detail": ""}
    yield (
        start + 28,
        {"kind": "check", "name": "template", "status": "ok", "message": "the chat template is used"},
    )
    text = "9 of 16 probe answers end without the answer marker"
    yield start + 28, {"kind": "check", "name": "format", "status": "warn", "message": text}
    yield start + 20, {
        "kind": "planned", "task": "gsm8k", "samples": total, "candidates": 1, "total": total,
        "categories": CATEGORIES, "plan_sha": "ab", "data": "test", "model": model, "engine": "vllm",
        "dtype": "bfloat16", "headline": "last number",
    }  # fmt: skip
    yield start + 1, {"kind": "phase", "name": "evaluate", "detail": ""}
    names = [name for name, n in CATEGORIES.items() for _ in range(n)]
    for i in range(done):
        if i % 16 == 0:
            yield start - i * pace, {"kind": "begin", "keys": [[f"q{j}", 0] for j in range(i, i + 16)]}
        name = names[i * 997 % len(names)]
        yield start - (i + 1) * pace, result(i, name, (i * 7919 + i * i * 31) % 100 < _SHARE[name] + ok - 62)


def result(i: int, category: str, right: bool) -> dict[str, Any]:
    verdict = "right" if right else "no_answer" if i % 37 == 5 else "wrong"
    reason = "parsed" if verdict != "no_answer" else "truncated" if i % 2 else "unparsed"
    return {
        "kind": "result", "task": "gsm8k", "sample": f"q{i}", "candidate": 0, "category": category,
        "verdict": verdict, "reason": reason, "extracted": "1", "rule": "last", "disagree": i % 211 == 7,
        "gold": "1", "completion": "so 1", "prompt_sha": "c", "tokens_in": 900, "tokens_out": 180 + i * 53 % 140,
        "finish": "stop", "seconds": 1.0,
    }  # fmt: skip


def heartbeats(start: float, end: float, every: float) -> Iterator[tuple[float, dict[str, Any]]]:
    before = start
    i = 0
    while before >= end:
        gpu = {
            "index": 0, "name": "H100", "util": 88.0 + i * 7 % 12, "mem_used": (66 << 30) + (i * 13 % 50 << 26),
            "mem_total": 80 << 30, "power": 560.0 + i * 29 % 110, "temp": 64.0 + i * 3 % 5,
            "power_limit": 700.0, "clock": 1755 + i * 15 % 90, "clock_max": 1980, "clock_mem": 2619,
            "throttle": ["power"] if i % 20 < 4 else [],
        }  # fmt: skip
        cpu = 18.0 + i * 11 % 17
        yield before, {
            "kind": "telemetry", "cpu": cpu, "mem_used": 41 << 30, "mem_total": 225 << 30,
            "disk_free": 412 << 30, "worker_rss": 9 << 30, "gpus": [gpu],
        }  # fmt: skip
        before -= every
        i += 1


def _booting(world: World) -> None:
    way = [(S.REQUESTED, 96), (S.LAUNCHING, 95), (S.BOOTING, 72)]
    world.session(
        "s-dusk", "dusk-swift", way, ["mmlu-pro"],
        offer=OFFER_A100, price=2.58, launched=NOW - 95, provider="runpod", instance_id="i-2",
    )  # fmt: skip
    world.drive("s-dusk")


def _failed(world: World) -> None:
    way = [(S.REQUESTED, 900), (S.LAUNCHING, 899), (S.BOOTING, 870), (S.CONNECTING, 610), (S.FAILED, 310)]
    world.session(
        "s-frost", "frost-egret", way, ["svamp"],
        offer={**OFFER_H100, "gpu": "RTX 4090"}, price=0.34, launched=NOW - 899, provider="vast", instance_id="i-3",
        error="203.0.113.9:22 refused the connection 5 times",
        hint="the instance may still boot: r tries again; x gives it back",
    )  # fmt: skip


WHOLE_WAY = [
    (S.REQUESTED, 9000), (S.LAUNCHING, 8999), (S.BOOTING, 8975), (S.CONNECTING, 8890), (S.PREPARING, 8885),
    (S.READY, 8700), (S.RUNNING, 8699), (S.DRAINING, 7300), (S.TERMINATING, 7280), (S.TERMINATED, 7262),
]  # fmt: skip
"""Of a session that has ended: its states, and how many seconds ago each began."""


def _done(world: World) -> None:
    world.session(
        "s-gale", "gale-petrel", WHOLE_WAY, ["gsm8k-base"],
        offer=OFFER_H100, price=2.49, launched=NOW - 8999, ended=NOW - 7262, instance_id="i-4",
    )  # fmt: skip
    world.store.update_run("s-gale-0", status="complete", started=NOW - 8699, ended=NOW - 7310)
    records = list(evaluation(total=660, done=660, start=8650, pace=2.0, ok=71))
    records.append((7310, {"kind": "finished", "outcome": "complete", "message": ""}))
    world.write("s-gale", "s-gale-0", "journal.jsonl", records)
    world.write("s-gale", "s-gale-0", "events.jsonl", list(heartbeats(8690, 7310, every=30)))


def older(world: World) -> None:
    """One more session that has ended, on the type that is booting."""
    world.session(
        "s-older", "older-one", WHOLE_WAY, ["mmlu-pro"],
        offer=OFFER_A100, price=2.58, launched=NOW - 8999, ended=NOW - 7262, provider="runpod", instance_id="i-9",
    )  # fmt: skip


def many_gpus(world: World, count: int = 8) -> None:
    """The running session's instance as one with several GPUs, of which one is too hot."""
    beats = []
    for before, beat in heartbeats(1430, 2, every=5):
        (first,) = beat["gpus"]
        gpus = [
            {**first, "index": i, "util": max(0.0, first["util"] - 9 * i), "temp": first["temp"] + 3 * i}
            for i in range(count)
        ]
        gpus[-1] |= {"throttle": ["heat", "power"], "clock": 1140}
        beats.append((before, {**beat, "gpus": gpus}))
    rewrite(world, beats)


def no_gpu(world: World) -> None:
    """The running session's instance as one without a GPU."""
    rewrite(world, [(before, {**beat, "gpus": []}) for before, beat in heartbeats(1430, 2, every=5)])


def rewrite(world: World, beats: list[tuple[float, dict[str, Any]]]) -> None:
    """Other heartbeats for the running session."""
    path = paths.run_dir("s-amber", "s-amber-0") / "events.jsonl"
    path.unlink()
    world.seq.pop(path)
    world.write("s-amber", "s-amber-0", "events.jsonl", beats)


def unknown(world: World) -> None:
    """Two instances that nobody here knows, as a provider has listed them."""
    names = (("i-77", "gpusess-0ther1ap-1"), ("i-78", "gpusess-ab12cd34-2"))
    listed = [
        Instance(id, name, InstanceStatus.RUNNING, None, 2.49, type="gpu_1x_h100", region="us-east-1")
        for id, name in names
    ]
    world.store.ledger.saw("lambda", "", NOW - 130, listed)
