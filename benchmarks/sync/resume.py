"""A transfer that is killed at 60% and begun again: what is sent of the file the second time.

`python -m benchmarks.sync.resume FACTS` is the process that is killed: it sends a file as the JSON says.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks.machine import ROOT, BenchmarkBroken
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.sync import sides, sshd
from benchmarks.sync.large import MIB, noise
from gpusess.providers.base import Endpoint
from gpusess.remote.ssh import Target
from gpusess.sync.files import read_files
from gpusess.sync.push import push

CUT = 0.6
MORE = 1.001
"""What the frames' heads may add to the bytes that are missing."""


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    if not (sshd.available() and shutil.which("rsync")):
        yield Skipped("interrupted at 60%, resumed", f"{sshd.MISSING}, and rsync")
        return
    size, rounds = (128 * MIB, 2) if quick else (512 * MIB, 3)
    ours, theirs = [], []
    with sshd.openssh() as server, sides.room() as base:
        source = noise(base / "model.bin", size)
        for _ in range(rounds):
            ours.append(_ours(server, source, sides.clear(base / "home")))
            theirs.append(_rsync(server, source, sides.clear(base / "peer")))
    sent, peer = (median(s / missing for s, missing in found) for found in (ours, theirs))
    yield Row(
        "resumed at 60%: sent of the missing", sent, max(peer, MORE), "x", "peer", "rsync, or", digits=4
    )
    yield Note(
        f"sent of the MiB that were missing: ours {ours[-1][0] / MIB:.1f} of {ours[-1][1] / MIB:.1f}, "
        f"rsync --append-verify {theirs[-1][0] / MIB:.1f} of {theirs[-1][1] / MIB:.1f} ({peer:.4f}x)"
    )


def _ours(server: sshd.Server, source: Path, home: Path) -> tuple[int, int]:
    """Bytes sent the second time, and bytes that were missing then."""
    target = server.target
    facts = {
        "endpoint": [target.endpoint.host, target.endpoint.port, target.endpoint.user],
        "keys": list(target.host_keys), "key": str(target.client_keys[0]),
        "source": str(source), "home": str(home), "folder": str(server.folder),
    }  # fmt: skip
    parts = home / ".gpusess/sync/parts"

    def there() -> int:
        return sum(path.stat().st_blocks * 512 for path in parts.glob("*"))

    argv = [sys.executable, "-m", "benchmarks.sync.resume", json.dumps(facts)]
    missing = source.stat().st_size - _cut(argv, there, source.stat().st_size)
    sent = asyncio.run(_send(server, source, home))
    sides.same(source, home / "model.bin")
    return sent, missing


def _rsync(server: sshd.Server, source: Path, peer: Path) -> tuple[int, int]:
    target = f"bench:{peer}/model.bin"

    def there() -> int:
        return max((path.stat().st_size for path in peer.iterdir()), default=0)

    first = sides.rsync(server.options(), "-a", "--partial", str(source), target)
    missing = source.stat().st_size - _cut(first, there, source.stat().st_size)
    again = sides.rsync(
        server.options(), "-a", "--partial", "--append-verify", "--stats", str(source), target
    )
    done = subprocess.run(again, capture_output=True, text=True, check=True)
    sides.same(source, peer / "model.bin")
    found = re.search(r"Total bytes sent: ([\d,]+)", done.stdout)
    if not found:
        raise BenchmarkBroken(f"rsync did not say what it sent: {done.stdout[-300:]}")
    return int(found[1].replace(",", "")), missing


def _cut(argv: list[str], there: Callable[[], int], size: int) -> int:
    """Run a sender, kill it when 60% are there; what is there when all has come to rest."""
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while there() < CUT * size:
        if process.poll() is not None or time.monotonic() > end:
            raise BenchmarkBroken(f"{argv[0]} ended before 60% were sent")
        time.sleep(0.001)
    process.kill()
    process.wait()
    looks = [there()]
    while len(looks) < 4 or len(set(looks[-4:])) > 1:  # what was on its way is still written
        time.sleep(0.5)
        looks.append(there())
    return looks[-1]


async def _send(server: sshd.Server, source: Path, home: Path) -> int:
    """Send the file; the bytes that went."""
    async with sides.ours(server, home) as channels:
        first = await channels.channel(0)
        await push(await asyncio.to_thread(read_files, source), "model.bin", channels)
        return first.sent


def _main(facts: dict[str, object]) -> None:
    host, port, user = facts["endpoint"]  # type: ignore[misc]
    target = Target(Endpoint(host, port, user), facts["keys"], [Path(str(facts["key"]))])  # type: ignore[arg-type]
    folder = Path(str(facts["folder"]))
    server = sshd.Server(target, folder, folder / "known_hosts")
    asyncio.run(_send(server, Path(str(facts["source"])), Path(str(facts["home"]))))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
