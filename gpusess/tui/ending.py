"""Ending with the terminal: a hang-up or SIGTERM ends the app, and after GRACE at the latest the process."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import Any

from textual.app import App

GRACE = 0.7
"""Seconds that an orderly exit may take."""


def end_with_terminal(app: App[Any]) -> None:
    """Listen for the signals. Call it on the app's own loop."""
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, _end, app, number)


def _end(app: App[Any], number: int) -> None:
    # Writing to a terminal that is gone may block or fail for ever: no exit may depend on it.
    timer = threading.Timer(GRACE, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()
    app.exit(return_code=128 + number)
