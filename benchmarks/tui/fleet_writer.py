"""Runs that go on: python -m benchmarks.tui.fleet_writer SESSIONS RATE appends a result to each session's
journal, RATE times a second and one session after the other, and a heartbeat each two seconds.
"""

from __future__ import annotations

import sys
import time

from benchmarks import worlds
from remote_agent.journal import encode

OPENING = 3


def main(sessions: int, rate: float) -> None:
    """For ever."""
    files = [worlds.fleet_mirror(i, "journal.jsonl").open("ab", buffering=0) for i in range(sessions)]
    beats = [worlds.fleet_mirror(i, "events.jsonl").open("ab", buffering=0) for i in range(sessions)]
    begin, number = time.monotonic(), 0
    while True:
        step, session = divmod(number, sessions)
        wait = begin + number / (rate * sessions) - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        seq = OPENING + worlds.FLEET_RESULTS + step
        files[session].write(encode(worlds.result(worlds.FLEET_RESULTS + step), seq, time.time()))
        if step % (2 * int(rate)) == 0:
            beats[session].write(encode(worlds.heartbeat(step), step, time.time()))
        number += 1


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
