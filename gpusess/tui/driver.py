"""Textual's driver for a terminal, with a thread for keys that sleeps until there are any. Textual's own asks
ten times a second whether a lone escape has become old; here that is done just after something was typed.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from codecs import getincrementaldecoder
from typing import Any

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

WATCHFUL = 1.0
"""Seconds after the last input in which half a sequence may become old: longer than Textual's delay."""
LOOK = 0.1
"""Seconds between two looks at that, as Textual has it."""


class PatientDriver(LinuxDriver):
    """Reads as Textual does; no wake-ups where nothing is typed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._awake, False)

    def disable_input(self) -> None:
        # The thread waits without an end: it is told that there is something beside keys to look at.
        os.write(self._wake, b".")
        super().disable_input()
        with contextlib.suppress(BlockingIOError):
            os.read(self._awake, 1 << 10)

    def run_input_thread(self) -> None:
        """Wait for input and hand on what it means, until `exit_event` is set."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        typed = time.monotonic()
        while not self.exit_event.is_set():
            resting = time.monotonic() - typed > WATCHFUL
            ready, _, _ = select.select([self.fileno, self._awake], [], [], None if resting else LOOK)
            if self.fileno in ready:
                typed = time.monotonic()
                data = os.read(self.fileno, 4096)
                if not data:  # the terminal is gone: whoever watches it ends the app
                    self.exit_event.wait(LOOK)
                text = decode(data)
                # Nothing but a part of a character so far: the parser would take it for the end.
                for event in parser.feed(text) if text else ():
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)
        with contextlib.suppress(EOFError, ParseError):
            for _ in parser.feed(""):
                pass
