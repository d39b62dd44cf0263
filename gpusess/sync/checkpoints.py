"""Bringing a run's checkpoints home: each whole or not at all, held against its manifest byte for byte, and
as differences to one that is here where that saves bytes.

At home they lie as on the instance: `checkpoints/<name>/` in the run's folder. What comes is never trusted:
names leave no folder, sizes and hashes decide. When to pull is the caller's part.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from gpusess.errors import SyncError
from gpusess.sync.files import read_files
from gpusess.sync.incoming import DAMAGED, Incoming
from gpusess.sync.progress import Progress
from gpusess.sync.pull import PART, pull_file
from gpusess.sync.push import push
from gpusess.sync.wire import Channels
from remote_agent import checkpoints
from remote_agent.files import CHECKPOINTS
from remote_agent.manifest import BadCheckpoint, Checkpoint, File, from_value, in_order, wanted
from remote_agent.syncing import frames
from remote_agent.tensors import HAS_ZSTANDARD

LARGE = 32 << 20
"""Bytes of a file that is worth several channels."""
ROOM = 64 << 20
"""Bytes of this disk that are left free."""


class How(StrEnum):
    """How a file came, or why it need not come."""

    WHOLE = "whole"
    CHANGES = "as what differs from {base}"
    SAME = "not sent: {base} has it too"
    HERE = "not sent: an earlier try brought it"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What bringing one checkpoint home took."""

    checkpoint: Checkpoint
    received: int
    """Bytes of files that went over the link, as they were sent."""
    seconds: float
    files: dict[How, int]
    """How many files came how."""
    base: str = ""
    """The checkpoint that both sides had."""

    @property
    def how(self) -> str:
        """`1 file as what differs from step-300, 2 not sent: step-300 has it too`."""
        counted = [(how.format(base=self.base), self.files[how]) for how in How if self.files.get(how)]
        said = [f"{count} {how}" for how, count in counted]
        if said:
            first = counted[0][1]
            said[0] = said[0].replace(f"{first} ", f"{first} file{'' if first == 1 else 's'} ", 1)
        return ", ".join(said)

    def __str__(self) -> str:
        made = self.checkpoint
        score = "" if made.score is None else f", score {made.score:g}"
        return (
            f"checkpoint {made.name} (step {made.step}{score}) is at home: {made.bytes / 1e6:.1f} MB, "
            f"{self.received / 1e6:.1f} MB sent, {self.seconds:.1f} s; {self.how}"
        )


async def listing(channels: Channels, run: str) -> list[Checkpoint]:
    """The whole checkpoints of a run on the instance (its folder, relative to the home folder there).

    Raises SyncError where a manifest is one that no honest run has made, and Unreachable.
    """
    header, payload = await (await channels.channel(0)).ask("checkpoints", path=run)
    try:
        return in_order(from_value(value) for value in frames.read_list(header, payload))
    except BadCheckpoint as exc:
        hint = "nothing of it was written here; look at the run with `gpusess ssh`"
        raise SyncError(f"a checkpoint on the instance is refused: {exc}", hint) from exc
    except frames.BadFrame as exc:
        raise SyncError(f"the instance's list of checkpoints makes no sense ({exc!r:.100})") from exc


async def pull(
    channels: Channels, run: str, made: Checkpoint, home: Path, progress: Progress | None = None
) -> Pulled:
    """Bring one checkpoint into `home`, the run's folder here. What an interrupted pull has brought is kept.

    Raises SyncError (the disk is full, or what came is not what the manifest says), Unreachable.
    """
    return await _Pull(channels, run, made, home, progress or Progress()).run()


async def give(channels: Channels, run: str, name: str, home: Path) -> None:
    """Send a checkpoint that is in `home` to an instance, whole or not at all, as files of the run's own:
    removing them frees the disk there. Raises SyncError, Unreachable."""
    tree = await asyncio.to_thread(read_files, checkpoints.folder(home) / name)
    place = f"{run}/{CHECKPOINTS}/{name}"
    await push(tree, place, channels)
    await (await channels.channel(0)).ask("own", place=place)


class _Pull:
    def __init__(
        self, channels: Channels, run: str, made: Checkpoint, home: Path, progress: Progress
    ) -> None:
        self._channels = channels
        self._run = run
        self._made = made
        self._home = home
        self._aside = checkpoints.aside_of(home, made.name)
        self._progress = progress
        self._received = 0
        self._files: Counter[How] = Counter()

    async def run(self) -> Pulled:
        began = time.monotonic()
        self._progress.expect(self._made.bytes)
        try:
            self._aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_room()
            base = await self._base()
            for file in self._made.files:
                target = self._aside / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                how = await self._is_here(file, target, base) or await self._bring(file, target, base)
                self._files[how] += 1
            for part in self._aside.rglob(f"{PART}*"):  # of a try that has gone another way since
                part.unlink()
            await asyncio.to_thread(checkpoints.settle, self._home, self._made, replace=True)
        except OSError as exc:
            raise SyncError(
                f"{exc.filename or self._aside}: {exc.strerror or exc}",
                "make room on this disk; the checkpoint is still on the instance",
            ) from exc
        seconds = time.monotonic() - began
        return Pulled(self._made, self._received, seconds, dict(self._files), base.name if base else "")

    def _check_room(self) -> None:
        have = sum(path.stat().st_size for path in self._aside.rglob("*") if path.is_file())
        free = shutil.disk_usage(self._aside).free
        if self._made.bytes - have > free - ROOM:
            raise SyncError(
                f"{self._made.name} takes {_gb(self._made.bytes)}, and this disk has {_gb(free)} left",
                "make room, or keep fewer checkpoints: `sync: checkpoints:` in the spec",
            )

    async def _base(self) -> Checkpoint | None:
        """The nearest checkpoint that both sides have, whole and the same."""
        here = {made.name: made for made in checkpoints.whole(self._home)}
        common = [
            made for made in await listing(self._channels, self._run) if _same(here.get(made.name), made)
        ]
        return min(common, key=lambda made: abs(made.step - self._made.step), default=None)

    async def _is_here(self, file: File, target: Path, base: Checkpoint | None) -> How | None:
        """Why nothing needs to be sent: an earlier pull brought it, or another checkpoint has it too. None:
        it must come."""
        if await asyncio.to_thread(_is, target, file):
            self._progress.spare(file.size)
            return How.HERE
        twin = (
            next((f for f in base.files if (f.sha256, f.size) == (file.sha256, file.size)), None)
            if base
            else None
        )
        if base is None or twin is None:
            return None
        target.unlink(missing_ok=True)
        await asyncio.to_thread(_link, checkpoints.folder(self._home) / base.name / twin.path, target)
        if not await asyncio.to_thread(_is, target, file):  # The copy at home was damaged.
            target.unlink()
            return None
        self._progress.spare(file.size)
        return How.SAME

    async def _bring(self, file: File, target: Path, base: Checkpoint | None) -> How:
        """One file, from where an earlier pull has come to. If that turns out wrong, then anew and whole:
        what lay here already, the part or the other checkpoint, was damaged."""
        source = self._source(file, base)
        if source is not None or file.size < LARGE:
            doubtful = target.exists() or source is not None
            if await self._bring_once(file, target, base if source else None, source):
                return How.CHANGES if source else How.WHOLE
            self._progress.expect(target.stat().st_size)  # It comes once more.
            target.unlink()
            if not doubtful:
                raise self._wrong(file)
        if file.size >= LARGE:
            await self._fetch(file, target)
        elif not await self._bring_once(file, target, None, None):
            target.unlink()
            raise self._wrong(file)
        return How.WHOLE

    async def _fetch(self, file: File, target: Path) -> None:
        """A large file, whole, over several channels: of what is here of it only the rest comes."""
        remote = f"{self._run}/{CHECKPOINTS}/{self._made.name}/{file.path}"
        self._progress.expect(-file.size)  # `pull_file` expects it too
        done = await pull_file(remote, target, self._channels, self._progress, size=file.size)
        self._received += done.received
        if not await asyncio.to_thread(_is, target, file):
            target.unlink()
            raise self._wrong(file)

    def _wrong(self, file: File) -> SyncError:
        return SyncError(f"{self._made.name}/{file.path} is not what the manifest says", DAMAGED)

    def _source(self, file: File, base: Checkpoint | None) -> Path | None:
        """The file here that the new one may be said by."""
        if base is None or not file.path.endswith(".safetensors"):
            return None
        if file.path not in {other.path for other in base.files}:
            return None
        return checkpoints.folder(self._home) / base.name / file.path

    async def _bring_once(
        self, file: File, target: Path, base: Checkpoint | None, source: Path | None
    ) -> bool:
        incoming = Incoming(file, target, source)
        try:
            await asyncio.to_thread(incoming.take_up)
            self._progress.spare(incoming.length)
            request = self._request(file, base, incoming.length)
            answer = await (await self._channels.channel(0)).send("pieces", **request)
            ended = False
            while not ended:
                found = [await answer.next(), *answer.ready()]
                ended = not found[-1][0].get("more")
                self._received += sum(len(payload) for _, payload in found)
                before = incoming.length
                # Several in a row: handing over to a thread takes time.
                await asyncio.to_thread(incoming.take, found[:-1] if ended else found)
                self._progress.send(incoming.length - before)
            return await asyncio.to_thread(incoming.finish)
        finally:
            incoming.close()

    def _request(self, file: File, base: Checkpoint | None, offset: int) -> dict[str, Any]:
        place = f"{self._run}/{CHECKPOINTS}"
        old = f"{place}/{base.name}/{file.path}" if base else None
        new = f"{place}/{self._made.name}/{file.path}"
        return {"new": new, "old": old, "offset": offset, "zstandard": HAS_ZSTANDARD}


def refresh_scores(home: Path, there: list[Checkpoint]) -> None:
    """Take over the scores that the instance has measured since a checkpoint came home."""
    here = {made.name: made for made in checkpoints.whole(home)}
    for made in there:
        if _same(here.get(made.name), made) and here[made.name].score != made.score:
            checkpoints.rewrite(home, made)


def missing(home: Path, there: list[Checkpoint], keep: int, best: bool) -> list[Checkpoint]:
    """What the rule wants of the instance's checkpoints and is not at home, the newest first."""
    here = {made.name: made for made in checkpoints.whole(home)}
    known = {**here, **{made.name: made for made in there}}
    return [
        made
        for made in wanted(known.values(), keep, best)
        if made in there and not _same(here.get(made.name), made)
    ]


def drop_stale(home: Path, there: list[Checkpoint]) -> None:
    """Remove what interrupted pulls have left of checkpoints that the instance has no more."""
    parts = {checkpoints.aside_of(home, made.name) for made in there}
    for path in checkpoints.folder(home).glob(".*.part"):
        if path not in parts:
            shutil.rmtree(path, ignore_errors=True)


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _same(one: Checkpoint | None, other: Checkpoint) -> bool:
    return one is not None and (one.step, one.files) == (other.step, other.files)


def _is(path: Path, file: File) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as content:
        if os.fstat(content.fileno()).st_size == file.size:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    return False


def _link(source: Path, target: Path) -> None:
    """The same bytes under another name; a copy where the disk has no links. Neither is ever written to."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
