"""CPU seconds that a transfer takes on both its sides: why a row is `short` where both share one machine's
cores, and how much of that is hashing.
"""

from __future__ import annotations

import contextlib
import os
import time

import psutil

from remote_agent.syncing.blocks import digest

CORES = os.cpu_count() or 1
_MIB = 1 << 20


def spent() -> float:
    """CPU seconds of this process and of all that it has started, servers and ended tools included."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def hashing(size: int) -> float:
    """CPU seconds of our hash over so many bytes, once."""
    block, rounds = os.urandom(_MIB), 64
    begin = time.process_time()
    for _ in range(rounds):
        digest(block)
    return (time.process_time() - begin) * size / (rounds * _MIB)
