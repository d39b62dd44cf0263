"""A working tree of 2,000 files on its way to an instance: ours beside rsync, on loopback and over 80 ms."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.sync import line, sides, sshd
from benchmarks.sync.sides import Race
from gpusess.remote.pool import Pool
from gpusess.sync.code import read_code
from gpusess.sync.index import Index
from gpusess.sync.push import Known, sync

FILES = 2000
ROUND_TRIP = 80.0
"""ms."""
WARM, COLD = "rsync -az, warm", "rsync -az, cold"
PLACE = "code"


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    if not (sshd.available() and shutil.which("rsync") and shutil.which("git")):
        yield Skipped("trees of 2,000 files", f"{sshd.MISSING}, rsync and git")
        return
    with sshd.openssh() as server:
        races = asyncio.run(_races(server, 5 if quick else 9))
    yield from _rows(races, "loopback", first=1.1, nothing=2.5, cold=10.0, few=None)
    if not line.available():
        yield Skipped("trees of 2,000 files, 80 ms", line.MISSING)
        return
    with line.line(ROUND_TRIP) as far, sshd.openssh(far.address, far.into_far) as server:
        races = asyncio.run(_races(server, 3 if quick else 7))
    yield from _rows(races, "80 ms", first=1.6, nothing=6.0, cold=15.0, few=4.0)


def _rows(
    races: dict[str, Race], where: str, first: float, nothing: float, cold: float, few: float | None
) -> Iterator[Line]:
    for name, times in (("first sync", first), ("no-op resync", nothing), ("resync, 5 changed", few)):
        race = races[name]
        if times is not None:
            yield _row(f"{name}, {where}", race, WARM, times)
        if name == "no-op resync":
            yield _row(f"{name}, {where}", race, COLD, cold)
        yield Note(race.note())


def _row(name: str, race: Race, peer: str, times: float) -> Row:
    return Row(name, race.middle("ours"), race.middle(peer), "s", "peer", peer, digits=3, times=times)


async def _races(server: sshd.Server, rounds: int) -> dict[str, Race]:
    races = {name: Race() for name in ("first sync", "no-op resync", "resync, 5 changed")}
    with sides.room() as base, sides.master(server) as warm:
        tree = _make_tree(base / "tree")
        for _ in range(rounds):
            await _one_round(base, tree, server, warm, races)
    return races


async def _one_round(
    base: Path, tree: Path, server: sshd.Server, warm: list[str], races: dict[str, Race]
) -> None:
    peer = sides.clear(base / "peer")
    to_peer = ["-az", "--delete", "--exclude=.git", f"{tree}/", f"bench:{peer}/"]
    cold = server.options()
    async with sides.ours(server, sides.clear(base / "ours")) as channels:
        us = _Ours(tree, base / "ours", channels)
        first = races["first sync"]
        first.add("ours", await sides.timed(us.sync))
        first.add(WARM, await sides.ran(sides.rsync(warm, *to_peer)))
        nothing = races["no-op resync"]
        await us.sync()
        for _ in range(2):
            nothing.add("ours", await sides.timed(us.sync))
            nothing.add(WARM, await sides.ran(sides.rsync(warm, *to_peer)))
            nothing.add(COLD, await sides.ran(sides.rsync(cold, *to_peer)))
        few = races["resync, 5 changed"]
        for _ in range(2):
            for name in range(5):
                # Another length each time: rsync takes a file of the same length and second for the same.
                (tree / f"d{name}/e0/changed.py").write_text(
                    f"{random.random():.9f}\n" * random.randint(40, 4000)
                )
            few.add("ours", await sides.timed(us.sync))
            few.add(WARM, await sides.ran(sides.rsync(warm, *to_peer)))
        sides.same(tree, us.home / PLACE)
        sides.same(tree, peer)


class _Ours:
    def __init__(self, tree: Path, home: Path, channels: Pool) -> None:
        self.home = home
        self._tree = tree
        self._channels = channels
        self._index = Index()
        self._known: Known | None = None

    async def sync(self) -> None:
        done = await sync(lambda: read_code(self._tree, self._index), PLACE, self._channels, self._known)
        self._known = done.known


def _make_tree(root: Path) -> Path:
    """A repository of Python-like files, 0.2 to 6 kB each, all of them committed."""
    chance = random.Random(1)
    for number in range(FILES):
        place = root / f"d{number % 40}" / f"e{number % 7}" / f"f{number}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        words = (chance.choice(WORDS) for _ in range(chance.randint(40, 1200)))
        place.write_text(" ".join(words))
    for command in ("init -q", "add -A", "-c user.name=b -c user.email=b@example.org commit -qm x"):
        subprocess.run(["git", "-C", str(root), *command.split()], check=True)
    return root


WORDS = (
    "def",
    "return",
    "self",
    "if",
    "else",
    "for",
    "in",
    "import",
    "None",
    "x",
    "y",
    "batch",
    "loss",
    "=",
    "\n",
)
