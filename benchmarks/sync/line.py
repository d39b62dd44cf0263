"""A long line between two network namespaces of this machine: a delay each way, and packets that get lost.

Both ends are real: their TCP slows down, retransmits and starts over as it would over an ocean. Only the wire
is made here: a process takes each packet out of one end (a TUN device) and puts it into the other when its
time has come. For kernels without netem.

`python -m benchmarks.sync.line NEAR FAR DELAY_MS LOSS MTU` is that process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT, BenchmarkBroken

NEAR, FAR = "10.91.0.1", "10.91.0.2"
MISSING = "needs root, unshare, ip, nsenter and /dev/net/tun"
CONGESTION = ("cubic", "reno")
"""The first that a namespace is granted: what Linux and macOS do unless told otherwise, or its ancestor,
which is no different on a line that loses packets."""

_TUNSETIFF = 0x400454CA
_TUN_NO_PI = 0x1001
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Line:
    """The two ends. Whoever has entered the line is at the near one."""

    address: str
    """Of the far end."""
    into_far: list[str]
    """Before a command line: run it at the far end."""


def available() -> bool:
    tools = all(any(Path(p, t).exists() for p in _path()) for t in ("unshare", "ip", "nsenter"))
    return os.geteuid() == 0 and tools and Path("/dev/net/tun").exists()


def _path() -> list[str]:
    return [*os.environ["PATH"].split(os.pathsep), "/usr/sbin", "/sbin"]


@contextlib.contextmanager
def line(round_trip: float, loss: float = 0.0, mtu: int = 1500) -> Iterator[Line]:
    """Lay a line and enter its near end with this thread; what it opens and starts from then on is there.

    round_trip: ms; loss: the share of packets, in each direction.
    """
    holders = [subprocess.Popen(["unshare", "--net", "sleep", "100000"]) for _ in range(2)]
    wire = None
    with Path("/proc/thread-self/ns/net").open() as here:
        try:
            for holder in holders:
                _wait_for_namespace(holder)
            near, far = (str(holder.pid) for holder in holders)
            arguments = [near, far, str(round_trip / 2), str(loss), str(mtu)]
            wire = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.sync.line", *arguments],
                cwd=ROOT, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert wire.stdout
            if wire.stdout.readline() != "ready\n":
                raise BenchmarkBroken("the line could not be laid")
            _enter(near)
            yield Line(FAR, ["nsenter", f"--net=/proc/{far}/ns/net"])
        finally:
            _set(here.fileno())
            for process in (wire, *holders):
                if process is not None:
                    process.kill()
                    process.wait()


def _wait_for_namespace(holder: subprocess.Popen[bytes]) -> None:
    own = Path("/proc/self/ns/net").readlink()
    for _ in range(200):
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{holder.pid}/ns/net").readlink() != own:
                return
        time.sleep(0.01)
    raise BenchmarkBroken("no network namespace could be made")


def _enter(pid: str) -> None:
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        _set(namespace.fileno())


def _set(handle: int) -> None:
    if _libc.setns(handle, 0):
        raise BenchmarkBroken(f"setns: {os.strerror(ctypes.get_errno())}")


def _end(pid: str, address: str, other: str, mtu: str) -> int:
    """Open one end in that namespace, with its address, and set its TCP."""
    _enter(pid)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH", b"line0", _TUN_NO_PI))
    for command in (
        f"addr add {address} peer {other} dev line0",
        f"link set line0 up mtu {mtu} txqueuelen 10000",
        "link set lo up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    for name in CONGESTION:
        with contextlib.suppress(OSError):
            Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(name)
            break
    # A closed connection's congestion window must not be the next one's beginning.
    Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text("1")
    return handle


def _carry(near: int, far: int, delay: float, loss: float) -> None:
    """Pass packets on, in their order, `delay` seconds after they came."""
    chance = random.Random(0)
    ways = {near: (far, deque[tuple[float, bytes]]()), far: (near, deque[tuple[float, bytes]]())}
    while True:
        now = time.monotonic()
        due = [waiting[0][0] for _, waiting in ways.values() if waiting]
        ready, _, _ = select.select(list(ways), [], [], max(0.0, min(due) - now) if due else None)
        for source in ready:
            waiting = ways[source][1]
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet = os.read(source, 65536)
                    if not loss or chance.random() >= loss:
                        waiting.append((time.monotonic() + delay, packet))
        now = time.monotonic()
        for sink, waiting in ways.values():
            while waiting and waiting[0][0] <= now:
                with contextlib.suppress(OSError):
                    os.write(sink, waiting[0][1])
                waiting.popleft()


def main(argv: list[str]) -> int:
    near, far, delay, loss, mtu = argv
    ends = _end(near, NEAR, FAR, mtu), _end(far, FAR, NEAR, mtu)
    print("ready", flush=True)
    _carry(*ends, float(delay) / 1000, float(loss))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
