"""Sending a run's files as they grow, byte for byte from where the other side stands.

The other side writes one JSON line with the length that it has of each file (and a hash of the last bytes
of that), then frames come back: a JSON line `{"f":name,"o":offset,"n":bytes}` and the bytes themselves.
Journals are sent up to their acknowledged length, logs up to their end. When checkpoints come or go, a frame
`{"checkpoints":stamp}` says so and no more. Memory is bounded: what the other side does not take is not read.
Standard library only, so that it starts fast.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import json
import os
import select
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remote_agent.files import CHECKPOINTS
from remote_agent.files import JOURNALS as JOURNALS
from remote_agent.files import LOGS as LOGS
from remote_agent.journal import ack_path, read_ack

CHUNK = 256 * 1024
PING_EVERY = 3.0
"""Seconds of silence after which a ping is sent, so that a dead link is noticed."""
POLL_EVERY = 0.05
"""Seconds between looks where the kernel does not tell of changes."""
TAIL = 64 * 1024
"""Bytes before the offset whose hash both sides compare."""


class Diverged(Exception):
    """What the other side has is not the beginning of what is here."""


def tail_sha(path: Path, offset: int) -> str:
    """SHA-256 of the last TAIL bytes before `offset`."""
    start = max(0, offset - TAIL)
    with path.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(file.read(offset - start)).hexdigest()


def main(run: Path) -> int:
    """Follow until stdin closes. Exit 0: asked to end; 1: diverged (an error frame says where)."""
    request = json.loads(sys.stdin.buffer.readline() or b"{}")
    send = _sender()
    try:
        offsets = {name: _start(run, name, request.get("files", {}).get(name)) for name in JOURNALS + LOGS}
        _loop(run, offsets, send)
    except Diverged as exc:
        send({"error": "diverged", "message": str(exc)}, b"")
        return 1
    except BrokenPipeError:
        return 0
    return 0


def _sender() -> Callable[[dict[str, Any], bytes], None]:
    out = sys.stdout.buffer

    def send(header: dict[str, Any], body: bytes) -> None:
        out.write(json.dumps(header, separators=(",", ":")).encode() + b"\n")
        out.write(body)
        out.flush()

    return send


def _start(run: Path, name: str, known: dict[str, Any] | None) -> int:
    """The offset to send from, after a check that the other side's bytes are ours."""
    if not known or not known["offset"]:
        return 0
    path, offset = run / name, int(known["offset"])
    here = length(run, name)
    if offset > here:
        raise Diverged(f"{name}: the copy has {offset} bytes, the original {here}")
    if tail_sha(path, offset) != known["sha"]:
        raise Diverged(f"{name}: the copy's bytes before {offset} differ from the original's")
    return offset


def length(run: Path, name: str) -> int:
    """How far a file may be sent. A journal that was brought here and not opened yet counts whole."""
    if name in JOURNALS and ack_path(run / name).exists():
        return read_ack(run / name)
    try:
        return (run / name).stat().st_size
    except FileNotFoundError:
        return 0


def _stamp(run: Path) -> int:
    """Another number when a checkpoint has come, gone or got a score; 0 while there is no folder for them."""
    try:
        return (run / CHECKPOINTS).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _loop(run: Path, offsets: dict[str, int], send: Callable[[dict[str, Any], bytes], None]) -> None:
    stdin = sys.stdin.fileno()
    spoke = time.monotonic()
    told = 0
    with _Watcher(run) as watcher:
        while True:
            for name in offsets:
                if _send_new(run, name, offsets, send):
                    spoke = time.monotonic()
            if (now := _stamp(run)) != told:
                if not told:
                    watcher.add(run / CHECKPOINTS)
                    now = _stamp(run)
                send({"checkpoints": now}, b"")
                told = now
            if time.monotonic() - spoke >= PING_EVERY:
                send({"ping": time.time()}, b"")
                spoke = time.monotonic()
            ready, _, _ = select.select([stdin, *watcher.fds], [], [], watcher.patience)
            if stdin in ready and not os.read(stdin, 4096):
                return
            watcher.drain(ready)


def _send_new(
    run: Path, name: str, offsets: dict[str, int], send: Callable[[dict[str, Any], bytes], None]
) -> bool:
    end = length(run, name)
    if end <= offsets[name]:
        return False
    with (run / name).open("rb") as file:
        file.seek(offsets[name])
        while offsets[name] < end:
            data = file.read(min(CHUNK, end - offsets[name]))
            if not data:
                break
            send({"f": name, "o": offsets[name], "n": len(data)}, data)
            offsets[name] += len(data)
    return True


class _Watcher:
    """Wakes when something in a folder changes: inotify where there is one, else a short nap."""

    _IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80

    def __init__(self, folder: Path) -> None:
        self.fds: list[int] = []
        self.patience = POLL_EVERY
        libc_name = ctypes.util.find_library("c") if sys.platform == "linux" else None
        if not libc_name:
            return
        libc = ctypes.CDLL(libc_name, use_errno=True)
        fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            return
        self._libc, self.fds = libc, [fd]
        if self.add(folder):
            self.patience = PING_EVERY

    def add(self, folder: Path) -> bool:
        """Wake for that folder too; False where the kernel does not tell of changes."""
        mask = self._IN_MODIFY | self._IN_CREATE | self._IN_MOVED_TO
        return bool(self.fds) and self._libc.inotify_add_watch(self.fds[0], os.fsencode(folder), mask) >= 0

    def drain(self, ready: list[int]) -> None:
        """Forget the changes that woke us: the files themselves are looked at anyway."""
        for fd in self.fds:
            if fd in ready:
                os.read(fd, 64 * struct.calcsize("iIII") * 16)

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self.fds:
            os.close(fd)
