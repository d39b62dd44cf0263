"""Processes and what they cost: CPU seconds of a whole process, a process on a pseudo terminal, quantiles."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "gpusess"]


class BenchmarkBroken(Exception):
    """A measurement could not be taken; the message says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took from its start to its end: CPU seconds (user and system), peak memory, output."""

    cpu: float
    peak_mib: float
    output: str


def run(argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Cost:
    """Run a process to its end and weigh it. Raises BenchmarkBroken where it fails."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd
        )
        cost = _reap(process)
        out.seek(0)
        said = out.read().decode(errors="replace")
    if process.returncode:
        raise BenchmarkBroken(f"{' '.join(argv[:4])} … ended with {process.returncode}: {said[-600:]}")
    return Cost(cost.cpu, cost.peak_mib, said)


def _reap(process: subprocess.Popen[bytes]) -> Cost:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, "")


class Terminal:
    """A process on a pseudo terminal of 120×40, and all that it paints, each piece with its time."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.painted: list[tuple[float, bytes]] = []
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**env, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            cwd=ROOT,
            start_new_session=True,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def screen(self) -> bytes:
        """Everything painted so far."""
        return b"".join(data for _, data in self.painted)

    @property
    def sent(self) -> int:
        """Bytes painted so far."""
        return sum(len(data) for _, data in self.painted)

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._master, keys)

    def wait_for(self, text: bytes, seconds: float = 20.0) -> None:
        """Until `text` has been painted. Raises BenchmarkBroken."""
        end = time.monotonic() + seconds
        while text not in self.screen:
            if time.monotonic() > end or self.process.poll() is not None:
                raise BenchmarkBroken(f"{text!r} was not painted: {self.screen[-600:]!r}")
            time.sleep(0.02)

    def ended(self) -> Cost:
        """Wait for the end; what the process took."""
        cost = _reap(self.process)
        self._reader.join(5)
        os.close(self._master)
        if self.process.returncode:
            raise BenchmarkBroken(f"the terminal's process ended with {self.process.returncode}")
        return cost

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        with contextlib.suppress(OSError):
            os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                if select.select([self._master], [], [], 0.5)[0]:
                    data = os.read(self._master, 1 << 16)
                    if not data:
                        return
                    self.painted.append((time.time(), data))
                elif self.process.returncode is not None:
                    return
            except (OSError, ValueError):
                return


@contextlib.contextmanager
def data_folder() -> Iterator[Path]:
    """A data folder of our own for as long as the block runs, for this process and its children."""
    folder = Path(tempfile.mkdtemp(prefix="gpusess-bench-"))
    ours = {"GPUSESS_HOME": str(folder), "GPUSESS_CONFIG": str(folder / "none.toml")}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield folder
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


class Wakeups(threading.Thread):
    """How late this machine wakes a sleeping thread (ms): what no program on it can do without."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._done = threading.Event()
        self.late: list[float] = []

    def run(self) -> None:
        while not self._done.is_set():
            due = time.monotonic() + 0.01
            time.sleep(0.01)
            self.late.append(1000 * (time.monotonic() - due))

    def __enter__(self) -> Wakeups:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def spread(values: Sequence[float]) -> str:
    """min … max, for the notes."""
    return f"{min(values):.3g} … {max(values):.3g}"
