"""Successive checkpoints of a fine-tuning as differences of tensors: how many of the bytes, and how fast.

The checkpoints are made here, by training the small chat model for some steps. Both halves are measured alone
in this process, then together over an OpenSSH server with the agent on the other side.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

from benchmarks.machine import BenchmarkBroken, run, spread
from benchmarks.rows import Line, Note, Row, Skipped
from benchmarks.sync.sshd import MISSING, available, openssh
from gpusess.remote.package import build
from gpusess.remote.pool import Pool
from gpusess.remote.ssh import connect
from gpusess.sync.checkpoints import pull
from gpusess.sync.tensors import apply
from remote_agent import checkpoints
from remote_agent.tensors import Piece, pieces

MODEL = Path.home() / ".cache/gpusess/models/HuggingFaceTB--SmolLM2-135M-Instruct"
SHARE, SPEED = 20.0, 150.0
"""Percent of the bytes at most, MB/s at least."""
RUN = ".gpusess/runs/bench"
OVERHEAD = 100
"""Bytes of a piece's line, at the most."""


def measure(quick: bool) -> Iterator[Line]:
    """The rows of this group."""
    name = "bf16 checkpoint, share of the bytes"
    if not MODEL.exists() or importlib.util.find_spec("torch") is None:
        yield Skipped(name, "needs torch and the model that `gpusess demo` fetches")
        return
    count, steps = (2, 5) if quick else (3, 20)
    with tempfile.TemporaryDirectory(prefix="gpusess-tensors-") as folder:
        made = Path(folder, "made")
        script = [sys.executable, "-m", "benchmarks.sync.fine_tune"]
        run([*script, str(made), str(MODEL), str(count), str(steps)])
        yield from _alone(name, made, count, 3 if quick else 5)
        if available():
            yield from asyncio.run(_over_ssh(made, count))
        else:
            yield Skipped("bf16 checkpoint over ssh", MISSING)


def _alone(name: str, made: Path, count: int, rounds: int) -> Iterator[Line]:
    shares: list[float] = []
    encoded: list[tuple[float, float]] = []
    decoded: list[tuple[float, float]] = []
    for number in range(1, count + 1):
        old, new = (made / str(n) / "model.safetensors" for n in (number - 1, number))
        share = 0.0
        _sha(new)
        for _ in range(rounds):
            size = new.stat().st_size / 1e6
            with _Watch() as saying:
                found = _pieces(old, new)
            with _Watch() as putting:
                _put_together(found, old, new, made / "again")
            encoded.append(saying.speed(size))
            decoded.append(putting.speed(size))
            share = 100 * sum(len(piece.payload) + OVERHEAD for piece in found) / new.stat().st_size
        shares.append(share)
    yield Row(name, max(shares), SHARE, "%", digits=1)
    yield Note(f"from one to the next: {', '.join(f'{share:.1f}' for share in shares)} %; {_rsync(made)}")
    for title, speeds in (("saying it, on the instance", encoded), ("putting it together, at home", decoded)):
        walls, cpus = zip(*speeds, strict=True)
        yield Row(f"  {title}", median(walls), SPEED, "MB/s", more_is_better=True, digits=0)
        yield Note(f"{spread(walls)} MB/s of the file; {median(cpus):.0f} MB for each CPU second")


class _Watch:
    """Wall time and CPU time of a block; CPU time says what a busy machine does not let see."""

    def __enter__(self) -> _Watch:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._wall, self._cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu

    def speed(self, size: float) -> tuple[float, float]:
        return size / self._wall, size / self._cpu


def _pieces(old: Path, new: Path) -> list[Piece]:
    with old.open("rb") as before, new.open("rb") as after:
        return list(pieces(after.fileno(), before.fileno()))


def _put_together(found: list[Piece], old: Path, new: Path, target: Path) -> None:
    """As at home: with the hash, and written."""
    sha, size = hashlib.sha256(), old.stat().st_size
    with old.open("rb") as before, target.open("wb") as out:
        for piece in found:
            data = apply(piece, before.fileno(), size)
            sha.update(data)
            out.write(data)
    # Its own hash is part of what is measured, the one that it is held against is not made anew.
    if sha.hexdigest() != _sha(new):
        raise BenchmarkBroken("what was put together is another file")


@cache
def _sha(path: Path) -> str:
    with path.open("rb") as whole:
        return hashlib.file_digest(whole, "sha256").hexdigest()


def _rsync(made: Path) -> str:
    """What rsync would send of the last checkpoint, with the one before it on the other side."""
    if shutil.which("rsync") is None:
        return "no rsync to compare with"
    old, new = sorted(path for path in made.iterdir() if path.is_dir())[-2:]
    target = made / "rsync"
    shutil.copyfile(old / "model.safetensors", target)
    command = [
        "rsync",
        "--no-whole-file",
        "--inplace",
        "-z",
        "--stats",
        str(new / "model.safetensors"),
        str(target),
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sent = next(line for line in said.splitlines() if line.startswith("Total bytes sent"))
    share = 100 * int(sent.rpartition(":")[2].replace(",", "")) / (new / "model.safetensors").stat().st_size
    return f"rsync -z sends {share:.0f} %"


async def _over_ssh(made: Path, count: int) -> list[Line]:
    """Pull one after the other, as the driver does; the first one comes whole."""
    speeds = []
    with openssh() as server:
        instance, home = server.folder / "instance", server.folder / "home"
        program = server.folder / "agent.pyz"
        program.write_bytes(build().content)
        # The agent's files are below its home folder: it gets one that goes with the server.
        command = f"HOME={shlex.quote(str(instance))} {shlex.join([sys.executable, str(program), 'sync'])}"
        for number in range(count + 1):
            aside = checkpoints.begin(instance / RUN, str(number))
            os.link(made / str(number) / "model.safetensors", aside / "model.safetensors")
            checkpoints.publish(instance / RUN, str(number), number)
        async with await connect(server.target) as connection, Pool(connection, command) as channels:
            for checkpoint in checkpoints.whole(instance / RUN):
                pulled = await pull(channels, RUN, checkpoint, home)
                speeds.append(checkpoint.bytes / 1e6 / pulled.seconds)
    return [
        Row("  over ssh, both at once", median(speeds[1:]), SPEED, "MB/s", more_is_better=True, digits=0),
        Note(
            f"{spread(speeds[1:])} MB/s of the file, both sides on {os.cpu_count()} cores; "
            f"the first one, whole: {speeds[0]:.0f}"
        ),
    ]
