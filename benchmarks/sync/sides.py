"""The two sides of a race: ours, and the tools that people use for the same work, over the same server.

A side is warm where its connection is up before the clock starts: our channel, or ssh's ControlMaster.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks.machine import ROOT, BenchmarkBroken, spread
from benchmarks.sync import cost
from benchmarks.sync.sshd import Server
from gpusess.remote.pool import Pool
from gpusess.remote.ssh import connect

GCM = ["-c", "aes128-gcm@openssh.com"]
SETTLE = 0.1
"""Seconds until a server has taken note that its children have ended."""


class Race:
    """Seconds of each side, taken in turns."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}
        """CPU seconds of both ends, where they were weighed."""

    def add(self, side: str, seconds: float) -> None:
        self.seconds.setdefault(side, []).append(seconds)

    async def weigh(self, side: str, work: Awaitable[float]) -> None:
        """Add what `work` took, with the CPU seconds of both ends."""
        before = cost.spent()
        self.add(side, await work)
        await asyncio.sleep(SETTLE)
        self.cpu.setdefault(side, []).append(cost.spent() - before)

    def middle(self, side: str) -> float:
        return median(self.seconds[side])

    def weight(self, side: str) -> float:
        """CPU seconds, the median."""
        return median(self.cpu[side])

    def note(self) -> str:
        """The spread of all sides."""
        return "; ".join(f"{side} {spread(found)} s" for side, found in self.seconds.items())


def run(argv: list[str]) -> float:
    """Seconds of a tool. Raises BenchmarkBroken where it fails."""
    begin = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise BenchmarkBroken(f"{argv[0]}: {done.stderr.decode(errors='replace')[-400:]}")
    return time.perf_counter() - begin


@contextlib.contextmanager
def master(server: Server) -> Iterator[list[str]]:
    """The options of an ssh whose connection is up, until the end of the block."""
    socket = server.folder / "master"
    options = [*server.options(), "-o", f"ControlPath={socket}"]
    subprocess.run(
        ["ssh", *options, "-o", "ControlMaster=yes", "-o", "ControlPersist=yes", "-fN", "bench"], check=True
    )
    try:
        yield options
    finally:
        subprocess.run(["ssh", *options, "-O", "exit", "bench"], capture_output=True, check=False)


def rsync(options: list[str], *arguments: str) -> list[str]:
    return ["rsync", "-e", shlex.join(["ssh", *options]), *arguments]


def scp(options: list[str], source: str, target: str) -> list[str]:
    return ["scp", "-q", *options, source, target]


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """A folder for both sides' files: in memory where there is room: a disk is never twice the same, and
    no side's merit."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 8 << 30
    with tempfile.TemporaryDirectory(prefix="gpusess-bench-", dir=memory if roomy else None) as folder:
        yield Path(folder)


@contextlib.asynccontextmanager
async def ours(server: Server, home: Path) -> AsyncIterator[Pool]:
    """Our channels to an agent whose home folder is `home`, up."""
    home.mkdir(parents=True, exist_ok=True)
    where = f"cd {shlex.quote(str(ROOT))} && HOME={shlex.quote(str(home))}"
    command = f"{where} exec {sys.executable} -m remote_agent sync"
    async with await connect(server.target) as connection, Pool(connection, command) as pool:
        await pool.channel(0)
        yield pool


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    begin = time.perf_counter()
    await work()
    return time.perf_counter() - begin


async def ran(argv: list[str]) -> float:
    """`run` beside a live event loop, so that our keepalives go on."""
    return await asyncio.to_thread(run, argv)


def clear(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def same(here: Path, there: Path) -> None:
    """Raises BenchmarkBroken where two files or folders differ: a fast way to nowhere is none."""
    done = subprocess.run(
        ["diff", "-rq", "--exclude=.git", str(here), f"{there}/" if there.is_dir() else str(there)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkBroken(f"{there} is not {here}: {done.stdout.decode(errors='replace')[:300]}")
