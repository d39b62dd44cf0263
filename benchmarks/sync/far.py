"""Large files over 80 ms, with packets lost and without: ours over several connections beside scp."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from benchmarks.rows import Line, Note, Skipped
from benchmarks.sync import line, sides, sshd
from benchmarks.sync.large import MIB, Room, fetch, noise, row, send
from benchmarks.sync.sides import Race

ROUND_TRIP = 80.0
"""ms."""
LOSS = 0.01


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    if not (sshd.available() and line.available()):
        yield Skipped("large files over 80 ms", f"{sshd.MISSING}; {line.MISSING}")
        return
    # Packets as they are on a real line: with longer ones the kernel's receive windows stay small here.
    yield from _rows(128 * MIB, 0.0, 2.4, 2 if quick else 3)
    yield from _rows((8 if quick else 32) * MIB, LOSS, 5.0, 1)


def _rows(size: int, loss: float, times: float, rounds: int) -> Iterator[Line]:
    with line.line(ROUND_TRIP, loss) as far, sshd.openssh(far.address, far.into_far) as server:
        up, down = asyncio.run(_far(server, size, rounds))
    where = f"80 ms{f', {loss:.0%} loss' if loss else ''}"
    yield row(f"{size // MIB} MiB up, {where}", up, "scp", times)
    yield row(f"{size // MIB} MiB down, {where}", down, "scp", times)
    yield Note(f"up: {up.note()}; down: {down.note()}")


async def _far(server: sshd.Server, size: int, rounds: int) -> tuple[Race, Race]:
    up, down = Race(), Race()
    with sides.room() as base:
        room = Room(base)
        source = noise(base / "model.bin", size)
        for _ in range(rounds):
            room.clear()
            # The session's connection is up, the others are not: opening them is part of the work.
            async with sides.ours(server, base / "home") as channels:
                up.add("ours", await sides.timed(lambda c=channels: send(source, c)))  # type: ignore[misc]
            sides.same(source, base / "home/model.bin")
            up.add("scp", await sides.ran(sides.scp(server.options(), str(source), f"bench:{base}/peer/x")))
            room.clear()
            async with sides.ours(server, base / "home") as channels:
                down.add("ours", await sides.timed(lambda c=channels: fetch(source, base, c)))  # type: ignore[misc]
            sides.same(source, base / "at-home/x")
            down.add("scp", await sides.ran(sides.scp(server.options(), f"bench:{source}", f"{base}/peer/x")))
    return up, down
