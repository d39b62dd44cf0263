"""What the app speaks to its tab with, in the app's own process: Textual's web driver, which ends for sure.

A tab that vanishes in the middle of the first paint can leave an app that renders for ever and hears no
signal. So a thread ends the process: shortly after the tab has gone, or at once when the server has.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from typing import Any

from textual.drivers.web_driver import WebDriver

GRACE = 1.0
"""Seconds that an orderly exit may take."""
WATCH = 1.0
"""Seconds between looks at whether the server lives, where the kernel does not tell."""

_PR_SET_PDEATHSIG = 1


class Driver(WebDriver):
    """Textual's, without opening pages or handing out files."""

    def on_meta(self, packet_type: str, payload: dict[str, object]) -> None:
        if packet_type == "quit":
            end_within(GRACE)
        super().on_meta(packet_type, payload)

    def run_input_thread(self) -> None:
        super().run_input_thread()
        end_within(GRACE)  # nobody speaks to us any more

    def open_url(self, url: str, new_tab: bool = True) -> None:
        """Not from a page that may show a model's text."""

    def _deliver_file(self, binary: Any, **_: Any) -> None:
        """The files are on this machine already."""
        binary.close()


def end_within(seconds: float) -> None:
    """End this process after so long, whatever it does."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()


def end_with(parent: int) -> None:
    """End this process when its parent ends, however that happens."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None or prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        threading.Thread(target=_watch, args=(parent,), daemon=True, name="server-watch").start()
    elif os.getppid() != parent:
        os._exit(0)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(0)
