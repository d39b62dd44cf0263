"""What one process of ours does in a cell of the matrix: drive a session to its launch, or to its end, on the
simulator's frozen clock. It is forked, so that it can really be killed. No checks live here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gpusess.providers import http, pacing
from gpusess.sessions.context import open_context
from gpusess.sessions.driver import Driver
from gpusess.sessions.states import State
from gpusess.sessions.store import Store

from .clock import SharedClock
from .simulator import CONTROL

SESSION = "5e5510n1"
SPEC = """
name: matrix
resources: {{provider: {provider}, max_hours: 24}}
runs: [{{name: r, model: org/m, task: {{name: word_problems}}}}]
"""
ANSWER_LIMIT = 0.25
"""Seconds until a call that hangs is given up; 30 outside the matrix."""


@dataclass
class Stage:
    """Where a cell plays: a data folder of its own, and the simulator."""

    provider: str
    folder: Path
    origin: str
    clock: Path
    env: dict[str, str]
    session: str = SESSION

    @property
    def database(self) -> Path:
        return self.folder / "data" / "gpusess.db"


def play(
    stage: Stage, verb: str, fault: dict[str, Any] | None, commit: tuple[str, int] | None
) -> tuple[int, str]:
    """Do `verb` (launch, terminate, resume) in a process of its own; its status and what it said.

    fault: armed for that process. commit: die `before` or `after` the nth write to the store.
    """
    log = stage.folder / "log"
    pid = os.fork()
    if pid == 0:
        _child(stage, verb, fault, commit, log)
    status = _reap(pid)
    return status, log.read_text()


def _reap(pid: int, limit: float = 60.0) -> int:
    previous = signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        _, status = os.waitpid(pid, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    return os.waitstatus_to_exitcode(status)


def _child(
    stage: Stage, verb: str, fault: dict[str, Any] | None, commit: tuple[str, int] | None, log: Path
) -> None:
    status = 1
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        _prepare(stage)
        if fault:
            armed = {**fault, "pid": os.getpid()}
            httpx.post(stage.origin + CONTROL, json={"do": "arm", "faults": [armed]}).raise_for_status()
        clock = SharedClock(stage.clock)
        _use(clock)
        _count_writes(stage, *(commit or ("", 0)))
        asyncio.run(_act(stage, verb, clock))
        status = 0
    except BaseException:  # noqa: BLE001 (the child of a fork must never return into its parent's code)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _prepare(stage: Stage) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.environ.update(stage.env)
    os.environ["GPUSESS_HOME"] = str(stage.folder / "data")
    os.environ["GPUSESS_CONFIG"] = str(stage.folder / "config.toml")
    os.environ["XDG_CONFIG_HOME"] = str(stage.folder)


def _use(clock: SharedClock) -> None:
    """Nothing of ours waits in real time, but for an answer that hangs."""
    http.TIMEOUT = httpx.Timeout(ANSWER_LIMIT)
    http.Api.__init__.__defaults__ = (None, clock.sleep)
    pacing.Pace.__init__.__defaults__ = (1, clock.now, clock.sleep)


async def _act(stage: Stage, verb: str, clock: SharedClock) -> None:
    store = Store(stage.database, clock.now)
    if not store.sessions():
        store.add_session(
            id=stage.session,
            name="matrix",
            job="matrix",
            provider=stage.provider,
            spec=SPEC.format(provider=stage.provider),
            spec_path=str(stage.folder / "spec.yaml"),
            options={},
            runs=[(f"{stage.session}-r", "r")],
        )
    if verb == "terminate":
        store.ask(stage.session, "terminate", pull=False)
    ctx = open_context(store, stage.session)
    ctx.clock, ctx.sleep = clock.now, clock.sleep
    driver = Driver(ctx)
    # An instance that is up is as far as a cell goes: nobody connects.
    driver._steps.pop(State.CONNECTING)
    state = await driver.drive(resume=verb == "resume")
    logging.info("%s ends in %s", verb, state)


def _count_writes(stage: Stage, when: str, nth: int) -> None:
    """Count the store's writes in the file `writes`, and die by SIGKILL before or after the nth is durable."""
    whole: Callable[..., Any] = Store._transaction
    before = written(stage)
    count = 0

    @contextmanager
    def counted(self: Store) -> Iterator[Any]:
        nonlocal count
        count += 1
        with whole(self) as db:
            yield db
            if count == nth and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        (stage.folder / "writes").write_text(str(before + count))

    Store._transaction = counted  # type: ignore[method-assign]


def written(stage: Stage) -> int:
    """How many writes to the store there were."""
    counter = stage.folder / "writes"
    return int(counter.read_text()) if counter.exists() else 0
