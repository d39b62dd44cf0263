"""A real terminal (tmux) with the program in it: what is on its screen, and keys for it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import uuid

from .world import REPOSITORY, World


class Screen:
    """A tmux server of its own with one window."""

    def __init__(self, world: World, columns: int, rows: int, *args: str) -> None:
        self._world = world
        self._socket = f"gpusess-test-{uuid.uuid4().hex[:8]}"
        names = ("GPUSESS_HOME", "GPUSESS_CACHE", "GPUSESS_CONFIG", "OMP_NUM_THREADS")
        exports = [f"{name}={world.environment[name]}" for name in names]
        app = shlex.join(
            ["env", "-u", "COLUMNS", "-u", "LINES", *exports, sys.executable, "-m", "gpusess", *args]
        )
        size = ["-x", str(columns), "-y", str(rows)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, f"{app}; echo LEFT $?; sleep 600")

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def keys(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait(self, *words: str, seconds: float = 30) -> str:
        """Until all words are on the screen; the screen."""

        def look() -> str:
            text = self.text()
            return text if all(word in text for word in words) else ""

        try:
            return self._world.wait(look, f"{words} on the screen", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False, capture_output=True)

    def _tmux(self, *args: str) -> str:
        command = ["tmux", "-L", self._socket, *args]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout
