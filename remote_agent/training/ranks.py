"""Training in several processes, one a GPU: the worker is the first of them and starts the others as torchrun
would (rendezvous by environment). accelerate and torch do the rest.

The first process alone writes: journal and checkpoints are its own. If any process dies, all end, and the
supervisor starts anew from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remote_agent import checkpoints
from remote_agent.identity import command
from remote_agent.logs import setup_logging
from remote_agent.supervisor import die_with_parent
from remote_agent.training.course import Course

log = logging.getLogger("training")

LOOK_EVERY = 1.0


@contextlib.contextmanager
def others(run: Path, count: int, start: str | None, course: Course) -> Iterator[None]:
    """Inside, this process is the first of `count`, and the others train along.

    start: the name of the checkpoint that all begin from. For `count` 1 nothing is started.
    """
    if count == 1:
        yield
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    os.environ |= {**shared, "RANK": "0", "LOCAL_RANK": "0"}
    handed = json.dumps({"start": start, "lr_factor": course.lr_factor, "figures": course.figures})
    processes = [_start(run, rank, shared, handed) for rank in range(1, count)]
    done = threading.Event()
    threading.Thread(target=_end_with, args=(processes, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()


def _start(run: Path, rank: int, shared: dict[str, str], handed: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command("rank", str(run)),
        stdin=subprocess.PIPE,
        stdout=sys.stderr,
        env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        preexec_fn=die_with_parent,
    )
    assert process.stdin is not None
    process.stdin.write(handed.encode())
    process.stdin.close()
    return process


def _end_with(processes: list[subprocess.Popen[bytes]], done: threading.Event) -> None:
    """A process that waits for a dead one waits for ever: end this one too."""
    while not done.wait(LOOK_EVERY):
        dead = [process for process in processes if process.poll() not in (None, 0)]
        if dead and not done.is_set():
            log.error("process %d of the training ended with %s; all end", dead[0].pid, dead[0].returncode)
            os._exit(1)


def main(run: Path) -> int:
    """One of the other processes, from start to end. stdin: what `others` hands over."""
    setup_logging()
    handed: dict[str, Any] = json.loads(sys.stdin.read())
    from remote_agent.training.material import prepare
    from remote_agent.training.watch import Watch
    from remote_agent.worker import read_order

    order = read_order(run)
    assert order.train is not None
    build = prepare(run, order).build()
    course = Course(lr_factor=handed["lr_factor"])
    course.figures = {int(step): figures for step, figures in handed["figures"].items()}
    watch = Watch(order.train, course, None, None)
    trainer = build.trainer(watch, lambda step, write: write(checkpoints.aside_of(run, step_name(step))))
    place = checkpoints.folder(run) / handed["start"] if handed["start"] else None
    trainer.train(resume_from_checkpoint=str(place) if place else None)
    return 0


def step_name(step: int) -> str:
    """The name of a step's checkpoint."""
    return f"step-{step:06d}"
