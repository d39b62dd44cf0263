"""Kills a training again and again, at moments that are chosen by what lies on its disk, and says what each
kill hit. What came out of it is compared by who asked.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.machine import BenchmarkBroken
from benchmarks.train.runs import Run
from remote_agent import checkpoints
from remote_agent.journal import decode_all

LOOK = 0.0005
"""Seconds between two looks at the disk: a small checkpoint is written in some hundredths."""
LIMIT = 240.0

Hit = Literal["step", "checkpoint"]


@dataclass(frozen=True, slots=True)
class Kill:
    """What a SIGKILL was sent to, when it was to come, and what it hit by what was left on the disk."""

    whom: Literal["worker", "supervisor"]
    moment: str
    hit: Hit


class Disk:
    """What a training's checkpoints look like, since now. Cheap enough to be asked a thousand times a second.
    What an earlier kill has left there is not looked at."""

    def __init__(self, run: Run) -> None:
        self._folder = checkpoints.folder(run.folder)
        self._before = self.named()
        self._left = {path.name: path.stat().st_ino for path in self._folder.glob(".*")}

    def named(self) -> set[str]:
        with contextlib.suppress(FileNotFoundError):
            return {name for name in os.listdir(self._folder) if not name.startswith(".")}  # noqa: PTH208
        return set()

    def aside(self, pattern: str) -> bool:
        """Whether something of a checkpoint that is being written, or removed, is there."""
        return any(map(self._is_new, self._folder.glob(pattern)))

    def _is_new(self, path: Path) -> bool:
        name = path.relative_to(self._folder).parts[0]
        with contextlib.suppress(FileNotFoundError):
            return self._left.get(name) != (self._folder / name).stat().st_ino
        return False

    def published(self) -> bool:
        """A new one has its name; its record may not be written yet."""
        return bool(self.named() - self._before)


MOMENTS: dict[str, Callable[[Disk], bool]] = {
    "begun": lambda disk: disk.aside(".step-*.part"),
    "weights written": lambda disk: disk.aside(".step-*.part*/checkpoint-*/*.safetensors"),
    "optimizer written": lambda disk: disk.aside(".step-*.part*/checkpoint-*/optimizer.pt"),
    "moved": lambda disk: disk.aside(".step-*.part/trainer_state.json"),
    "manifest written": lambda disk: disk.aside(".step-*.part/manifest.json"),
    "named": Disk.published,
    "old ones removed": lambda disk: disk.aside(".step-*.gone"),
}
"""Of a checkpoint, in the order in which it is made."""


def kill_often(run: Run, kills: int, seed: int = 0) -> Iterator[Kill]:
    """Run to the end, with `kills` SIGKILLs on the way: in turns in a checkpoint and in a step, each third
    one of the supervisor. The moments of a checkpoint take turns, those of a step are drawn."""
    chance = random.Random(seed)
    moments = itertools.cycle(MOMENTS)
    run.start()
    try:
        dead = 0
        for number in range(kills):
            dead = _worker(run, other_than=dead)
            disk = Disk(run)
            if number % 2:
                moment = f"{(share := chance.random()):.2f} of a step after a new one"
                _after_a_new_step(run, share)
            else:
                moment = next(moments)
                _until(run, lambda name=moment, disk=disk: MOMENTS[name](disk), moment, LOOK)  # type: ignore[misc]
            whom: Literal["worker", "supervisor"] = "supervisor" if number % 3 == 2 else "worker"
            _kill(run, whom, dead)
            yield Kill(whom, moment, _hit(run, disk))
            if whom == "supervisor":
                run.start()
        ended = run.wait()
    finally:
        run.stop()
    if ended["outcome"] != "complete":
        raise BenchmarkBroken(f"ended {ended['outcome']}: {ended['message']}")


def _worker(run: Run, other_than: int) -> int:
    """The pid of a worker that lives and is none of the dead."""
    found: list[int] = []

    def look() -> bool:
        pid = run.worker
        if pid and pid != other_than and _lives(pid):
            found.append(pid)
        return bool(found)

    _until(run, look, "a worker", 0.05)
    return found[0]


def _after_a_new_step(run: Run, share: float) -> None:
    """Until a step that no worker before had done, and that share of the time between two more."""
    known = max((record["step"] for record in run.of_kind("step")), default=0)
    _until(run, lambda: _newest(run)[0] > known, "a new step", 0.02)
    _, seconds = _newest(run)
    time.sleep(share * seconds)


def _newest(run: Run) -> tuple[int, float]:
    """The newest step's number, and the seconds between it and the one before."""
    steps = run.of_kind("step")
    if len(steps) < 2:
        return (steps[-1]["step"] if steps else 0), 0.0
    return steps[-1]["step"], min(5.0, steps[-1]["ts"] - steps[-2]["ts"])


def _until(run: Run, found: Callable[[], bool], what: str, every: float) -> None:
    end, look_at_the_run = time.monotonic() + LIMIT, 0.0
    while not found():
        now = time.monotonic()
        if now > look_at_the_run:
            look_at_the_run = now + 0.5
            if (ended := run.ended) is not None:
                raise BenchmarkBroken(f"ended {ended['outcome']} before {what}: {ended['message']}")
        if now > end:
            raise BenchmarkBroken(f"{LIMIT:.0f} s without {what}")
        time.sleep(every)


def _kill(run: Run, whom: str, worker: int) -> None:
    """SIGKILL, and wait until no worker writes any more: the kernel ends it with its supervisor."""
    pid = worker if whom == "worker" else run.supervisor
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while _lives(worker) or (whom == "supervisor" and run.supervisor):
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """Whether it runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def _hit(run: Run, disk: Disk) -> Hit:
    """By what the dead left: something of a checkpoint that is not whole, or whole and not recorded."""
    data = (run.folder / "journal.jsonl").read_bytes()
    saved = {r["name"] for r in decode_all(data[: data.rfind(b"\n") + 1]) if r["kind"] == "saved"}
    return "checkpoint" if disk.aside(".step-*") or disk.named() - saved else "step"
