"""The detached process that sees a run through: it starts the worker, restarts it after a crash, and writes
heartbeats and load to `events.jsonl`, of which it is the only writer. It computes nothing of the run itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote_agent import control, protocol
from remote_agent.identity import agent_id, command
from remote_agent.journal import Journal, JournalError, NoSpace, read_ack, settle
from remote_agent.logs import setup_logging
from remote_agent.telemetry import Meter
from remote_agent.training.asks import forget

log = logging.getLogger("supervisor")

TELEMETRY_EVERY = 2.0
BARREN_LIMIT = 6
"""Deaths in a row without a new result after which a run is given up. Finding a sample that kills the
worker takes four: one in its batch, three alone."""
_PROGRESS = (b'"kind":"result"', b'"kind":"failed"', b'"kind":"scored"')
BACKOFF_MAX = 30.0
EXIT_FINAL = 3
"""The worker's exit status for a failure that a restart does not cure."""
EXIT_HALTED = 4
"""The worker's exit status where it stopped at an alarm, as its order says."""
KILL_PATIENCE = 10.0


def main(run: Path) -> int:
    """Start the supervisor in the background and print one JSON line about it.

    stdin holds one JSON object {"env": {name: value}}: settings and secrets for the worker. They stay in
    this process's memory and in the worker's environment.
    """
    handed_over = json.loads(sys.stdin.read() or "{}")
    lock = control.take_lock(run)
    if lock is None:
        print(json.dumps({"running": control.supervisor_pid(run)}))
        return 0
    forget(run)
    ready, child_end = os.pipe()
    if os.fork():
        os.close(child_end)
        answer = os.read(ready, 4096).decode()  # empty when the child died before it was ready
        print(answer or json.dumps({"error": f"the supervisor did not start; see {run}/supervisor.log"}))
        return 0 if answer else 1
    _detach(run, lock)
    os.write(child_end, json.dumps({"started": os.getpid()}).encode())
    os.close(child_end)
    os.close(ready)
    _supervise(run, handed_over.get("env", {}))
    return 0


def _detach(run: Path, lock: int) -> None:
    """Leave the connection's session and its pipes; from here on stdout is a log file."""
    os.setsid()
    control.write_pid(lock)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(run / protocol.SUPERVISOR_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    setup_logging()


def _supervise(run: Path, env: dict[str, str]) -> None:
    code = 1
    try:
        Supervisor(run, env).run()
        code = 0
    except BaseException:
        log.exception("the supervisor failed")
    # The parent's copy of Python's state must not be flushed or finalised twice.
    sys.stderr.flush()
    os._exit(code)


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended. `blamed`: what it had in flight may have caused it."""

    code: int
    cause: str
    blamed: bool


class Supervisor:
    """Sees one run through."""

    def __init__(self, run: Path, env: dict[str, str]) -> None:
        self._run = run
        self._env = env
        self._events = Journal(run / protocol.EVENTS, ballast=False)
        self._meter = Meter(run)
        self._worker: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._highest_step = 0

    def run(self) -> None:
        """Start workers until the run has ended or is given up."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._record(protocol.SupervisorStarted(pid=os.getpid(), agent=agent_id(), host=platform.node()))
        death: Death | None = None
        barren, attempt = 0, 0
        while True:
            attempt += 1
            settled = read_ack(self._run / protocol.JOURNAL)
            death = self._one_worker(attempt, death)
            barren = 0 if self._has_new_results(settled) else barren + 1
            ended = self._verdict(death, barren)
            pause = None if ended else min(BACKOFF_MAX, 0.25 * 2**barren)
            self._record(
                protocol.WorkerExited(pid=self._worker_pid() or 0, cause=death.cause, restart_in=pause)
            )
            if ended:
                self._settle_tail()
                self._record(ended)
                return
            log.warning("the worker ended with %s; the next starts in %.1f s", death.cause, pause)
            self._wait(pause or 0.0)

    def _settle_tail(self) -> None:
        """Let whole records count that a worker wrote and could not acknowledge before it was ended."""
        journal = self._run / protocol.JOURNAL
        if journal.exists():
            try:
                settle(journal)
            except (JournalError, OSError) as exc:
                log.error("%s", exc)

    def _verdict(self, death: Death, barren: int) -> protocol.Ended | None:
        """The run's end, or None where another worker is to be started."""
        if death.code == 0:
            return protocol.Ended(outcome="complete")
        if self._stopping:
            return protocol.Ended(outcome="stopped", message="stopped by its user")
        if death.code == EXIT_HALTED:
            return protocol.Ended(outcome="stopped", message=self._last_words())
        if death.code == EXIT_FINAL:
            return protocol.Ended(outcome="failed", message=self._last_words())
        if barren >= BARREN_LIMIT:
            message = (
                f"{barren} workers in a row died without a new result; the last of {death.cause}. "
                f"Its last words: {self._last_words()}"
            )
            return protocol.Ended(outcome="failed", message=message)
        return None

    def _one_worker(self, attempt: int, before: Death | None) -> Death:
        args = ["work", str(self._run)]
        if before:
            args += ["--after", before.cause, *(["--blamed"] if before.blamed else [])]
        kills = _oom_kills()
        with (self._run / protocol.WORKER_LOG).open("ab") as out:
            self._worker = subprocess.Popen(
                command(*args),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self._workdir(),
                # Threads that wait for each other by spinning are many times slower on a shared machine.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **self._env},
                preexec_fn=die_with_parent,
            )
        self._record(protocol.WorkerStarted(pid=self._worker.pid, attempt=attempt))
        while (code := self._worker.poll()) is None:
            self._heartbeat()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._worker.wait(TELEMETRY_EVERY)
            if self._stopping:
                code = self._end_worker()
                break
        return _death(code, out_of_memory=_oom_kills() > kills)

    def _workdir(self) -> Path:
        """The session's folder with its code where there is one, so that relative paths hold."""
        folder = self._run / "work"
        return folder if folder.exists() else self._run

    def _end_worker(self) -> int:
        assert self._worker is not None
        self._worker.terminate()
        try:
            return self._worker.wait(KILL_PATIENCE)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            return self._worker.wait()

    def _last_words(self) -> str:
        """The last line of the worker's log: where a traceback says what was raised."""
        with (self._run / protocol.WORKER_LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "none")

    def _has_new_results(self, since: int) -> bool:
        journal = self._run / protocol.JOURNAL
        if not journal.exists():  # the worker died before it could open one
            return False
        with journal.open("rb") as file:
            file.seek(since)
            # No short cut: each line is looked at, for the highest step.
            return sum(self._brings_on(line) for line in file) > 0

    def _brings_on(self, line: bytes) -> bool:
        """Whether a record is progress. A step that was computed before, and lost, is none."""
        if b'"kind":"step"' in line:
            with contextlib.suppress(ValueError):
                step, before = int(json.loads(line)["step"]), self._highest_step
                self._highest_step = max(step, before)
                return step > before
        return any(kind in line for kind in _PROGRESS)

    def _heartbeat(self) -> None:
        self._record(self._meter.read(self._worker_pid()))

    def _worker_pid(self) -> int | None:
        return self._worker.pid if self._worker else None

    def _record(self, record: Any) -> None:
        """Write one event. On a full disk a heartbeat is dropped; what matters is tried until it fits."""
        while True:
            try:
                self._events.append([protocol.payload(record)])
                return
            except NoSpace as exc:
                log.error("%s", exc)
                if isinstance(record, protocol.Telemetry) or self._stopping:
                    return
                time.sleep(1.0)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _on_stop(self, *_: object) -> None:
        self._stopping = True
        if self._worker:
            with contextlib.suppress(ProcessLookupError):
                self._worker.terminate()


_FROM_OUTSIDE = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL}


def _death(code: int, *, out_of_memory: bool) -> Death:
    """A kill from outside blames no sample; the kernel's out-of-memory killer does."""
    if code >= 0:
        return Death(code, f"exit {code}", blamed=code != 0)
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL and out_of_memory:
        return Death(code, "SIGKILL (out of memory)", blamed=True)
    return Death(code, name, blamed=number not in _FROM_OUTSIDE)


def _oom_kills() -> int:
    """How often the kernel's out-of-memory killer has struck here: its counter for this control group,
    else for the machine."""
    for path in (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat")):
        with contextlib.suppress(OSError):
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """In the worker, before it starts: a worker without its supervisor would go unwatched."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
