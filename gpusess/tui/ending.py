"""Ending with the terminal: a hang-up or SIGTERM ends the app, and after GRACE at the latest the process.

A terminal may also vanish without a signal (nobody's controlling terminal); then writing to it blocks for
ever and the loop with it, so a thread of its own watches.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
from typing import Any

from textual.app import App

GRACE = 0.5
"""Seconds that an orderly exit may take."""


def end_with_terminal(app: App[Any]) -> None:
    """Listen for the signals and watch the terminal. Call it on the app's own loop."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    ending = threading.Event()

    def end(number: int) -> None:
        if ending.is_set():
            return
        ending.set()
        timer = threading.Timer(GRACE, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        loop.call_soon_threadsafe(lambda: app.exit(return_code=128 + number))

    for number in (signal.SIGTERM, signal.SIGHUP):
        # Not the loop's own handlers: those wait for a loop that may be blocked in a write.
        signal.signal(number, lambda received, _frame: end(received))
    stdin = sys.__stdin__
    if stdin is not None and stdin.isatty():
        watch = threading.Thread(
            target=_watch, args=(stdin.fileno(), end), daemon=True, name="terminal-watch"
        )
        watch.start()


def _watch(fd: int, end: Any) -> None:
    poll = select.poll()
    poll.register(fd, 0)  # hang-up and error are always reported
    poll.poll()  # until the terminal is gone: no wake-ups before
    end(signal.SIGHUP)
