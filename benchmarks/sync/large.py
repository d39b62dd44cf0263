"""Large files on loopback, up and down: ours beside scp, ssh and rsync."""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.sync import cost, sides, sshd
from benchmarks.sync.sides import GCM, Race
from gpusess.remote.pool import Pool
from gpusess.sync.files import read_files
from gpusess.sync.pull import pull_file
from gpusess.sync.push import push
from remote_agent.syncing.store import clone

MIB = 1 << 20
SHARE_OF_CAT = 0.85
CHANGED = 0.01
COPY = "a copy of the older version alone"
TWICE = "2 ssh cat"
"""Half of the file over each of two connections at once: no core is left idle."""


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    if not (sshd.available() and shutil.which("rsync")):
        yield Skipped("large files", f"{sshd.MISSING}, and rsync")
        return
    size, rounds = (256 * MIB, 3) if quick else (1024 * MIB, 3)
    with sshd.openssh() as server:
        up, down = asyncio.run(_on_loopback(server, size, rounds))
        yield from _near_rows(f"{size // MIB} MiB up, loopback", up, size)
        yield from _near_rows(f"{size // MIB} MiB down, loopback", down, size)
        changed = asyncio.run(_changed(server, size, rounds))
    name = f"{size // MIB} MiB, {CHANGED:.0%} of it changed"
    yield row(name, changed, "rsync --inplace", 2.0)
    yield Note(changed.note())


def _near_rows(name: str, race: Race, size: int) -> Iterator[Line]:
    yield row(name, race, "scp", 1.4)
    rate = {side: size / MIB / race.middle(side) for side in race.seconds}
    yield Row(
        "  of ssh cat's rate", rate["ours"], rate["ssh cat"], "MiB/s", "peer", "ssh cat, same cipher",
        more_is_better=True, digits=0, times=SHARE_OF_CAT,
    )  # fmt: skip
    yield Note(race.note())
    yield from _why(race, size)


def _why(race: Race, size: int) -> Iterator[Line]:
    """What the cores here allow: the raw line, and one hash of each byte at each end."""
    hashing, scp = 2 * cost.hashing(size), race.middle("scp")
    least = (race.weight("ssh cat") + hashing) / cost.CORES
    weights = ", ".join(f"{side} {race.weight(side):.2f}" for side in race.cpu)
    yield Note(f"cpu s of both ends: {weights}; BLAKE3 at both ends {hashing:.2f}; {cost.CORES} cores")
    yield Note(
        f"if no core ever waited: ssh cat and the hashes {least:.2f} s, {scp / least:.2f}x; ssh cat over two "
        f"connections, without hashes, {scp / race.middle(TWICE):.2f}x of scp"
    )


def row(name: str, race: Race, peer: str, times: float) -> Row:
    return Row(name, race.middle("ours"), race.middle(peer), "s", "peer", peer, times=times)


def noise(path: Path, size: int) -> Path:
    """A file that nothing makes smaller, in the page cache."""
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(random.randbytes(MIB))
    return path


@dataclass(frozen=True, slots=True)
class Room:
    """Where a race's files lie. Each round begins without those that arrive."""

    base: Path

    def clear(self) -> None:
        for name in ("peer", "home", "at-home"):
            sides.clear(self.base / name)


async def _on_loopback(server: sshd.Server, size: int, rounds: int) -> tuple[Race, Race]:
    up, down = Race(), Race()
    with sides.room() as base:
        room = Room(base)
        source = noise(base / "model.bin", size)
        for _ in range(rounds):
            room.clear()
            async with sides.ours(server, base / "home") as channels:
                await up.weigh("ours", sides.timed(lambda c=channels: send(source, c)))  # type: ignore[misc]
            sides.same(source, base / "home/model.bin")
            await _tools(up, room, _tools_up(server, source, base / "peer/x", size))
            room.clear()
            async with sides.ours(server, base / "home") as channels:
                await down.weigh("ours", sides.timed(lambda c=channels: fetch(source, base, c)))  # type: ignore[misc]
            sides.same(source, base / "at-home/x")
            await _tools(down, room, _tools_down(server, source, base / "peer/x", size))
    return up, down


async def _tools(race: Race, room: Room, tools: dict[str, list[str]]) -> None:
    for side, argv in tools.items():
        room.clear()
        await race.weigh(side, sides.ran(argv))


async def _changed(server: sshd.Server, size: int, rounds: int) -> Race:
    """An older version is there, on each side its own; ours remembers the blocks of what it has sent.

    Ours copies the older version, which somebody may still work with, and rsync is told to write into it.
    """
    race = Race()
    with sides.room() as base:
        Room(base).clear()
        source = noise(base / "model.bin", size)
        shutil.copy(source, base / "peer/x")
        async with sides.ours(server, base / "home") as channels:
            await send(source, channels)
            for _ in range(rounds):
                with source.open("r+b") as file:
                    for block in random.sample(range(size // MIB), max(1, int(size // MIB * CHANGED))):
                        file.seek(block * MIB + 1000)
                        file.write(random.randbytes(5000))
                race.add("ours", await sides.timed(lambda: send(source, channels)))
                argv = sides.rsync(
                    server.options(),
                    "-a",
                    "--inplace",
                    "--no-whole-file",
                    str(source),
                    f"bench:{base}/peer/x",
                )
                race.add("rsync --inplace", await sides.ran(argv))
                sides.same(source, base / "home/model.bin")
                sides.same(source, base / "peer/x")
                race.add(COPY, await asyncio.to_thread(_copy, source, base / "copy"))
    return race


def _copy(source: Path, target: Path) -> float:
    """Seconds of what ours cannot do without where the file system shares no blocks."""
    begin = time.perf_counter()
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    clone(source, handle, source.stat().st_size)
    os.close(handle)
    taken = time.perf_counter() - begin
    target.unlink()
    return taken


async def send(source: Path, channels: Pool) -> None:
    tree = await asyncio.to_thread(read_files, source)
    await push(tree, "model.bin", channels)


async def fetch(source: Path, base: Path, channels: Pool) -> None:
    # As the peers: they leave it to the kernel when bytes reach the disk.
    await pull_file(str(source), base / "at-home/x", channels, durable=False)


def _tools_up(server: sshd.Server, source: Path, target: Path, size: int) -> dict[str, list[str]]:
    into = [shlex.join([*_ssh(server), f"cat > {shlex.quote(f'{target}{n}')}"]) for n in range(2)]
    return {
        "scp": sides.scp(server.options(), str(source), f"bench:{target}"),
        "ssh cat": ["sh", "-c", f"{into[0]} < {shlex.quote(str(source))}"],
        TWICE: _at_once(f"{half} | {ssh}" for half, ssh in zip(_halves(source, size), into, strict=True)),
    }


def _tools_down(server: sshd.Server, source: Path, target: Path, size: int) -> dict[str, list[str]]:
    here = shlex.quote(str(target))
    return {
        "scp": sides.scp(server.options(), f"bench:{source}", str(target)),
        "ssh cat": ["sh", "-c", f"{shlex.join([*_ssh(server), shlex.join(['cat', str(source)])])} > {here}"],
        TWICE: _at_once(
            f"{shlex.join([*_ssh(server), half])} > {here}{n}" for n, half in enumerate(_halves(source, size))
        ),
    }


def _ssh(server: sshd.Server) -> list[str]:
    return ["ssh", *server.options(), *GCM, "bench"]


def _halves(source: Path, size: int) -> list[str]:
    return [shlex.join([tool, "-c", str(size // 2), str(source)]) for tool in ("head", "tail")]


def _at_once(commands: Iterator[str]) -> list[str]:
    return ["sh", "-c", f"{' & '.join(commands)} & wait"]
