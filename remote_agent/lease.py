"""The watch over the instance's lease: a detached process that ends the instance when nobody has spoken to it
and no run has worked for the lease's length, or when its latest end has come. It needs nobody at home, and
not the driver that started it. Standard library only.

A word from the user is: a driver's sign in `~/.gpusess/lease/word`, or input or output of a terminal. A run
that works writes its events. How the instance is ended, the driver says at the start; a secret that takes
stays in this process's memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from remote_agent import control
from remote_agent.logs import setup_logging

log = logging.getLogger("lease")

FOLDER = ".gpusess/lease"
WORD, NOTICE, LOCK, LOG = "word", "notice.json", "lock", "lease.log"
HEARTBEAT_SECONDS = 60.0
"""A run whose events were written to within this time works."""
AGAIN_SECONDS = 60.0
"""Between tries to end the instance, while it goes on."""
COMMAND_LIMIT = 120.0
SHUTDOWN = Path("/usr/local/sbin/gpusess-end")
"""What the launch put on an instance whose shutdown is its end. A machine without it is not ours to shut
down.
"""
METADATA = "http://169.254.169.254"


class Lease:
    """How long the instance may go on without a visitor, a word or a working run. Times in seconds."""

    def __init__(
        self,
        seconds: float,
        home: Path,
        clock: Callable[[], float] = time.monotonic,
        terminals: Path | None = None,
    ) -> None:
        """terminals: the folder of the instance's terminal devices, where their use counts."""
        self.seconds = seconds
        self.visitors: set[object] = set()
        """Whoever is connected, where that is known; the watch on a rented instance goes by words."""
        self._home = home
        self._clock = clock
        self._terminals = terminals
        self._heard = clock()
        self._word = _mtime(home / FOLDER / WORD)

    def has_run_out(self) -> bool:
        """Look again; true when nothing was heard for the whole lease."""
        if self.visitors or self._a_word_came() or self._a_terminal_is_used() or self._a_run_works():
            self._heard = self._clock()
        return self.seconds > 0 and self._clock() - self._heard > self.seconds

    def _a_word_came(self) -> bool:
        """A change since the last look, and not the clock, decides: the clocks of two machines may differ."""
        word = _mtime(self._home / FOLDER / WORD)
        came, self._word = word != self._word, word
        return came

    def _a_terminal_is_used(self) -> bool:
        fresh = min(HEARTBEAT_SECONDS, self.seconds)
        now = time.time()
        for terminal in self._terminals.glob("[0-9]*") if self._terminals else ():
            with contextlib.suppress(OSError):
                used = terminal.stat()
                if abs(now - max(used.st_atime, used.st_mtime)) <= fresh:
                    return True
        return False

    def _a_run_works(self) -> bool:
        fresh = min(HEARTBEAT_SECONDS, self.seconds)
        now = time.time()
        for events in self._home.glob(".gpusess/runs/*/events.jsonl"):
            # A time far ahead is no heartbeat either: a wrong clock must not keep the instance for ever.
            if abs(now - _mtime(events)) <= fresh:
                return True
        return False


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def main() -> int:
    """Start the watch in the background, in the place of an earlier one; one JSON line about it.

    stdin holds {"seconds": the lease, "left": seconds until the latest end or null, "how": "shutdown" or
    "command", "command": a shell command, "env": {name: value} for it, "notices": whether to ask the
    instance's metadata if it will be taken away}.
    """
    order = json.loads(sys.stdin.read())
    home = Path.home()
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    able, why = _can_end(order)
    lock = _take_over(folder / LOCK)
    ready, child_end = os.pipe()
    if os.fork():
        os.close(child_end)
        pid = os.read(ready, 64).decode()
        print(json.dumps({"watching": int(pid) if pid else None, "able": able, "why": why}))
        return 0 if pid else 1
    os.close(ready)
    _detach(folder, lock)
    os.write(child_end, str(os.getpid()).encode())
    os.close(child_end)
    try:
        Watch(order, Lease(order["seconds"], home, terminals=Path("/dev/pts")), folder).run()
    except BaseException:
        log.exception("the watch failed")
    sys.stderr.flush()
    os._exit(1)


def _take_over(path: Path) -> int:
    """The lock, taken from an earlier watch: this one has newer orders."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            digits = os.pread(fd, 32, 0)
            if digits.isdigit():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(digits), signal.SIGKILL)
            time.sleep(0.05)


def _detach(folder: Path, lock: int) -> None:
    os.setsid()
    control.write_pid(lock)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    setup_logging()


def _can_end(order: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the way to end the instance is open, found out while somebody is there to hear it."""
    if order["how"] != "shutdown":
        return True, ""
    if not SHUTDOWN.exists():
        return False, f"there is no {SHUTDOWN}: the launch has not set it up"
    if os.geteuid() == 0:
        return True, ""
    try:
        done = subprocess.run(
            ["sudo", "-n", "true"], capture_output=True, text=True, timeout=COMMAND_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return False, f"not root, and sudo does not run: {exc}"
    return done.returncode == 0, done.stderr.strip()


class Watch:
    """Looks every few seconds, and ends the instance when it is time. It does not return."""

    def __init__(
        self,
        order: Mapping[str, Any],
        lease: Lease,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        metadata: str = METADATA,
    ) -> None:
        self._order = order
        self._lease = lease
        self._folder = folder
        self._clock = clock
        self._sleep = sleep
        self._metadata = metadata
        left = order.get("left")
        self._deadline = None if left is None else clock() + left

    def run(self) -> None:
        log.info("the lease is %g s, the latest end in %s s", self._lease.seconds, self._order.get("left"))
        reason = ""
        while not reason:
            self._sleep(min(5.0, max(0.2, self._lease.seconds / 4)))
            if self._order.get("notices"):
                self.look_for_notice()
            reason = self.reason()
        log.warning("ending the instance: %s", reason)
        self._stop_runs()
        while True:
            self.end()
            self._sleep(AGAIN_SECONDS)

    def reason(self) -> str:
        """Why the instance is to be ended now; empty: it is not."""
        if self._lease.has_run_out():
            return f"nobody asked for it and no run worked for {self._lease.seconds:g} s"
        if self._deadline is not None and self._clock() > self._deadline:
            return "its latest end has come"
        return ""

    def end(self) -> None:
        """One try. The command's environment is process 1's, this one's, and what the order adds."""
        command = self._order["command"]
        if self._order["how"] == "shutdown":
            command = str(SHUTDOWN) if os.geteuid() == 0 else f"sudo -n {SHUTDOWN}"
        env = {**dict(_first_process()), **os.environ, **self._order.get("env", {})}
        try:
            done = subprocess.run(
                ["sh", "-c", command], env=env, capture_output=True, timeout=COMMAND_LIMIT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            log.error("cannot end the instance: %s", type(exc).__name__)
        else:
            # What it printed might quote a secret: only how it ended is kept.
            log.info("the command ended with exit status %d", done.returncode)

    def look_for_notice(self) -> None:
        """Write down when the provider will take the instance away, once it says so."""
        notice = spot_notice(self._metadata)
        if notice and not (self._folder / NOTICE).exists():
            log.warning("the provider takes this instance away: %s", notice)
            new = self._folder / f"{NOTICE}.tmp"
            new.write_text(json.dumps(notice))
            new.replace(self._folder / NOTICE)

    def _stop_runs(self) -> None:
        """Let runs that work come to a clean end first; what they have is on the disk either way."""
        for run in (self._folder.parent / "runs").glob("*"):
            with contextlib.suppress(OSError), contextlib.redirect_stdout(sys.stderr):
                control.stop(run)


def _first_process() -> Iterator[tuple[str, str]]:
    """The environment that a container was started with: an SSH session often has only a part of it."""
    with contextlib.suppress(OSError):
        for entry in Path("/proc/1/environ").read_bytes().split(b"\0"):
            name, equals, value = entry.partition(b"=")
            if equals:
                yield os.fsdecode(name), os.fsdecode(value)


def spot_notice(metadata: str = METADATA, timeout: float = 2.0) -> dict[str, Any] | None:
    """What EC2's instance metadata (IMDSv2, `spot/instance-action`) says: `action` and `time`; None:
    nothing.
    """
    try:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = {"X-aws-ec2-metadata-token": _ask(f"{metadata}/latest/api/token", "PUT", lifetime, timeout)}
        said = _ask(f"{metadata}/latest/meta-data/spot/instance-action", "GET", token, timeout)
        notice = json.loads(said)
    except (OSError, urllib.error.URLError, ValueError):  # 404: there is no notice
        return None
    return notice if isinstance(notice, dict) else None


def _ask(url: str, method: str, headers: dict[str, str], timeout: float) -> str:
    request = urllib.request.Request(url, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        text: str = answer.read(65536).decode()
        return text
