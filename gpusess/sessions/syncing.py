"""A session's code, models and data on their way to its instance: which folder goes where, what was there
last, and what of it is worth a word to the user. How bytes are moved is `gpusess.sync`'s part.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpusess import paths
from gpusess.analysis.text import clean, size
from gpusess.remote.agent import session_folder
from gpusess.sessions import traffic
from gpusess.sessions.context import log
from gpusess.sync import code, files
from gpusess.sync.fetch import Fetched
from gpusess.sync.index import Index
from gpusess.sync.preview import Plan, preview
from gpusess.sync.progress import Progress
from gpusess.sync.push import Known, Pushed, Tree, sync
from gpusess.sync.tree import Changed, Entry
from gpusess.sync.wire import Channels

TRIES = 3
"""How often a tree is read and sent anew whose files change meanwhile."""
SAID_EVERY = 2.0
"""Seconds between progress lines."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """A folder or file here, and its place on the instance (relative to the home folder there)."""

    name: str
    path: Path
    place: str
    is_code: bool = False

    def read(self, index: Index) -> Tree:
        """Raises SyncError."""
        return code.read_code(self.path, index) if self.is_code else files.read_files(self.path, index)


async def send(
    session: str, source: Source, channels: Channels, say: Say, tell: Callable[[Progress], None] | None = None
) -> Pushed:
    """Make the place hold what is here. `tell` is given the progress; else `say` is told of it now and then.

    Raises SyncError, Unreachable.
    """
    memory = _Memory(session, source.place)
    began = time.monotonic()
    for attempt in range(1, TRIES + 1):
        index = await asyncio.to_thread(Index.of, source.path)
        progress = Progress(tell or _teller(source, say))
        try:
            done = await sync(lambda i=index: source.read(i), source.place, channels, memory.known, progress)  # type: ignore[misc]
        except Changed as error:
            if attempt == TRIES:
                raise
            say(f"{error.message}; reading {source.name} again")
            continue
        finally:
            await asyncio.to_thread(index.save)
        if done.changed or memory.known is None:
            memory.keep(done.known)
        _note(session, source, done, time.monotonic() - began)
        say(summary(source, done))
        return done
    raise AssertionError("unreachable")


def _note(session: str, source: Source, done: Pushed, seconds: float) -> None:
    amounts = (done.files, done.bytes, done.sent_files, done.sent_bytes)
    try:
        traffic.note(session, traffic.Sent(round(time.time(), 3), source.name, *amounts, round(seconds, 3)))
    except OSError as exc:
        log.warning("what was sent is not noted: %s", exc)


async def plan(session: str, source: Source, channels: Channels) -> Plan:
    """What `send` would send. Raises SyncError, Unreachable."""
    index = await asyncio.to_thread(Index.of, source.path)
    tree = await asyncio.to_thread(source.read, index)
    try:
        return await preview(tree, source.place, channels, _Memory(session, source.place).known)
    finally:
        await asyncio.to_thread(index.save)


def sources(session: str, local_code: Path | None, pushes: list[tuple[Path, str]]) -> list[Source]:
    """What a spec sends before any run: its code and its data."""
    folder = session_folder(session)
    found = [Source("code", local_code, f"{folder}/code", is_code=True)] if local_code else []
    return found + [Source(path.name, path, f"{folder}/{to}") for path, to in pushes]


def summary(source: Source, done: Pushed) -> str:
    """One line: what was sent, what was there, what is gone, what was left out."""
    total = f"{source.name}: {files_of(done.files)}, {size(done.bytes)}"
    if done.sent_files:
        text = f"{total}; sent {done.sent_files}, {size(done.sent_bytes)}"
    else:
        text = f"{total}; all of it was there"
    if done.gone:
        text += f"; {done.gone} gone"
    return text + (f"; left out {len(done.skipped)}" if done.skipped else "")


def files_of(count: int) -> str:
    """`1 file`, `2 files`."""
    return f"{count} file{'' if count == 1 else 's'}"


def progress_line(name: str, progress: Progress) -> str:
    """`model: 3.1 of 14.2 GB, 112.0 MB/s, 1:39 to go`."""
    done = progress.sent + progress.spared
    text = f"{name}: {size(done)} of {size(progress.total)}, {size(progress.rate)}/s"
    if progress.left is not None:
        minutes, seconds = divmod(int(progress.left), 60)
        text += f", {minutes}:{seconds:02} to go"
    return text


def skipped_lines(done: Pushed | Plan | Fetched) -> list[str]:
    """What was left out and why, one line each."""
    return [f"left out {clean(item.path, 200)}: {item.reason}" for item in done.skipped]


def plan_lines(source: Source, found: Plan, most: int) -> list[str]:
    """What would be sent, would go, and would be left out; of each at most so many names."""
    total = sum(entry.size for entry in found.send)
    lines = [f"{source.name}: would send {len(found.send)} of {found.files} files, {size(total)}"]
    lines += _some([f"  send {clean(e.path, 200)} ({size(e.size)})" for e in found.send], most)
    lines += _some([f"  remove {clean(path, 200)}" for path in found.gone], most)
    return lines + [f"  {line}" for line in skipped_lines(found)]


def _some(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"  … and {len(lines) - most} more"]


def _teller(source: Source, say: Say) -> Callable[[Progress], None]:
    last = asyncio.get_running_loop().time()

    def tell(progress: Progress) -> None:
        nonlocal last
        now = asyncio.get_running_loop().time()
        if now - last >= SAID_EVERY:
            last = now
            say(progress_line(source.name, progress))

    return tell


class _Memory:
    """What a place was last made to hold. Losing it costs a round trip, nothing else."""

    def __init__(self, session: str, place: str) -> None:
        key = hashlib.sha256(os.fsencode(place)).hexdigest()[:32]
        self._file = paths.session_dir(session) / "sync" / key
        self.known: Known | None = None
        with suppress(OSError, ValueError, zlib.error, TypeError, KeyError):
            id, rows, inside = json.loads(zlib.decompress(self._file.read_bytes()))
            self.known = Known(id, [Entry(*row) for row in rows], inside)

    def keep(self, known: Known) -> None:
        self.known = known
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._file.with_name(f"{self._file.name}.tmp-{os.getpid()}")
        partial.write_bytes(zlib.compress(json.dumps([known.id, list(known.rows), known.inside]).encode(), 1))
        partial.replace(self._file)
