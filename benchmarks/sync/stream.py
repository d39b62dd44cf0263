"""A growing journal followed home: ours beside `ssh tail -f`, in turns, over one OpenSSH server.

Both sides have their copy in a file at home. Ours may read what is durable, tail what is written: the moment
from which a side is measured is the one from which it could read.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, cast

from benchmarks.machine import ROOT, BenchmarkBroken, quantile, spread
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.sync.sshd import MISSING, Server, available, openssh
from gpusess.remote.agent import Agent
from gpusess.remote.follow import Mirror, follow
from gpusess.remote.package import build
from gpusess.remote.ssh import connect

JOURNAL = "journal.jsonl"
RATE, BATCH, SIZE = 1000, 10, 300
LATENCY_LIMIT, PEER_SHARE = 10.0, 1.2
"""The 99th percentile may be that many ms, or that many times the peer's."""
SUSTAINED_FLOOR = 20_000.0
PATIENCE = 120.0

Side = Literal["ours", "tail"]


@dataclass(frozen=True, slots=True)
class Round:
    """One journal followed to its end. ms from when bytes could be read to their being at home."""

    latencies: list[float]
    from_write: list[float]
    per_second: float


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    names = ("write to callback, 1,000/s, p99", "sustained records/s, 300 B")
    if not available():
        yield from (Skipped(name, MISSING) for name in names)
        return
    rounds, seconds, records = (2, 4, 200_000) if quick else (3, 8, 500_000)
    with openssh() as server:
        paced = _in_turns(server, rounds, RATE * seconds, RATE, BATCH)
        yield from _latency_rows(names[0], paced)
        yield from _rate_rows(names[1], _in_turns(server, rounds, records, 0, 1000))


def _latency_rows(name: str, rounds: dict[Side, list[Round]]) -> Iterator[Line]:
    ours, tail = ([quantile(r.latencies, 0.99) for r in rounds[side]] for side in ("ours", "tail"))
    limit = max(LATENCY_LIMIT, PEER_SHARE * median(tail))
    yield Row(name, median(ours), limit, "ms", "peer", f"{PEER_SHARE}x tail -f or", digits=1)
    middles = {side: median([median(r.latencies) for r in rounds[side]]) for side in rounds}
    written = [quantile(r.from_write, 0.99) for r in rounds["ours"]]
    yield Note(
        f"p99 of tail -f {median(tail):.1f} ms ({spread(tail)}), ours {spread(ours)}; medians "
        f"{middles['ours']:.2f} (ours) and {middles['tail']:.2f}; ours with the write's way to the disk: "
        f"p99 {median(written):.1f} ms"
    )


def _rate_rows(name: str, rounds: dict[Side, list[Round]]) -> Iterator[Line]:
    ours, tail = ([r.per_second for r in rounds[side]] for side in ("ours", "tail"))
    yield Row(name, median(ours), median(tail), "/s", "peer", "ssh tail -f", more_is_better=True, digits=0)
    yield Row("  and at the least", median(ours), SUSTAINED_FLOOR, "/s", more_is_better=True, digits=0)
    yield Note(f"ours {spread(ours)}, tail -f {spread(tail)} records/s, both into a file")


def _in_turns(server: Server, rounds: int, total: int, rate: float, batch: int) -> dict[Side, list[Round]]:
    found: dict[Side, list[Round]] = {"ours": [], "tail": []}
    for number in range(rounds):
        sides: tuple[Side, ...] = ("ours", "tail") if number % 2 == 0 else ("tail", "ours")
        for side in sides:
            found[side].append(asyncio.run(_round(server, side, total, rate, batch)))
    return found


async def _round(server: Server, side: Side, total: int, rate: float, batch: int) -> Round:
    folder = server.folder / "run"
    folder.mkdir()
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.sync.journal_writer",
        *map(str, (folder, total, rate, batch, SIZE)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT, limit=1 << 26,
    )  # fmt: skip
    assert writer.stdin is not None
    assert writer.stdout is not None
    arrivals: list[tuple[int, float]] = []
    read = _ours if side == "ours" else _tail
    reading = None
    try:
        await writer.stdout.readline()
        reading = asyncio.create_task(
            read(server, folder, lambda length: arrivals.append((length, time.time())))
        )
        await asyncio.sleep(1.5)  # The reader's connection stands.
        arrivals.clear()
        writer.stdin.write(b"\n")
        said = await asyncio.wait_for(writer.stdout.readline(), PATIENCE)
        moments: list[tuple[int, float, float]] = json.loads(said)
        end = time.monotonic() + PATIENCE
        while not arrivals or arrivals[-1][0] < moments[-1][0]:
            if time.monotonic() > end or reading.done():
                raise BenchmarkBroken(f"{side}: {arrivals[-1:]} of {moments[-1]} came: {reading}")
            await asyncio.sleep(0.005)
    finally:
        if reading:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if writer.returncode is None:
            writer.kill()
        await writer.wait()
        shutil.rmtree(folder)
    return _found(side, moments, arrivals, total)


def _found(
    side: Side, moments: list[tuple[int, float, float]], arrivals: list[tuple[int, float]], total: int
) -> Round:
    levels = [level for level, _ in arrivals]
    reached = [arrivals[bisect_left(levels, length)][1] for length, _, _ in moments]
    from_write = [1000 * (at - written) for at, (_, written, _) in zip(reached, moments, strict=True)]
    durable = [1000 * (at - on_disk) for at, (_, _, on_disk) in zip(reached, moments, strict=True)]
    return Round(
        durable if side == "ours" else from_write,
        from_write,
        total / (reached[-1] - moments[0][1]),
    )


class _AgentThere:
    """The agent as a file in the server's folder: nothing of this user's own is touched."""

    def __init__(self, server: Server) -> None:
        self._file = server.folder / "agent.pyz"
        self._file.write_bytes(build().content)

    def command(self, *args: str) -> str:
        # The run's folder is named absolutely: on this server all is below the server's.
        return shlex.join([sys.executable, str(self._file), args[0], str(self._file.parent / "run")])


async def _ours(server: Server, folder: Path, arrived: Callable[[int], None]) -> None:
    mirror = Mirror(folder / "mirror")
    try:
        async with await connect(server.target) as connection:
            agent = cast(Agent, _AgentThere(server))
            await follow(connection, agent, "run", mirror, lambda: arrived(mirror.length(JOURNAL)))
    finally:
        mirror.close()


async def _tail(server: Server, folder: Path, arrived: Callable[[int], None]) -> None:
    process = await asyncio.create_subprocess_exec(
        "ssh", *server.options(), "127.0.0.1", f"exec tail -c +1 -f {folder / JOURNAL}",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout
    length = 0
    try:
        with (folder / "tailed").open("wb", buffering=0) as file:
            while data := await process.stdout.read(1 << 18):
                file.write(data)
                length += len(data)
                arrived(length)
        raise BenchmarkBroken(f"tail -f ended with {await process.wait()}")
    finally:
        if process.returncode is None:
            os.kill(process.pid, 15)
            await process.wait()
