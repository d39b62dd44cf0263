"""The app as a process on a terminal: it ends when its terminal does, and starts lightly."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

APP = """
import sys
from pathlib import Path
from gpusess import paths
from gpusess.sessions.board import Board
from gpusess.sessions.store import Store
from gpusess.tui.app import CockpitApp

class App(CockpitApp):
    def _settle(self):
        super()._settle()
        Path(sys.argv[1]).touch()
        if "--exit" in sys.argv:
            self.exit()

app = App(Board(Store(paths.database())), None)
app.run()
"""


class Terminal:
    """The app in a pseudo terminal of its own session."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.ready = folder / "ready"
        self.master, slave = pty.openpty()
        env = {**os.environ, "GPUSESS_HOME": str(folder), "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", APP, str(self.ready), *args],
            stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(slave)

    def read_until_ready(self) -> None:
        end = time.monotonic() + 20
        while not self.ready.exists() and time.monotonic() < end:
            if select.select([self.master], [], [], 0.02)[0]:
                os.read(self.master, 1 << 16)
        assert self.ready.exists()

    def seconds_to_end(self) -> float:
        begin = time.monotonic()
        self.process.wait(timeout=5)
        return time.monotonic() - begin


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path)
    opened.read_until_ready()
    yield opened
    if opened.process.poll() is None:
        opened.process.kill()
        opened.process.wait()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_it_within_a_second(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    assert terminal.seconds_to_end() < 1.5
    os.close(terminal.master)


def test_a_closed_terminal_ends_it_within_a_second(terminal: Terminal) -> None:
    os.close(terminal.master)
    assert terminal.seconds_to_end() < 1.5


def test_it_imports_nothing_heavy() -> None:
    code = "import gpusess.tui.app, sys; print([m for m in ('httpx', 'asyncssh', 'pydantic', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_over_ssh_it_paints_fewer_frames() -> None:
    code = "import gpusess.tui.app, textual.constants; print(textual.constants.MAX_FPS)"
    env = {**os.environ, "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}
    env.pop("TEXTUAL_FPS", None)  # set where the cockpit was imported, as here
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.strip() == "15"
