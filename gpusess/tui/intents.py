"""What the cockpit may ask for. It never acts itself: whoever implements this writes requests down and
starts drivers.
"""

from __future__ import annotations

from typing import Protocol


class Intents(Protocol):
    """Called on the UI's thread: each method returns at once and raises GpusessError where it cannot."""

    def terminate(self, session_id: str, pull_first: bool) -> None:
        """Give the instance back; with `pull_first`, bring home what is not home yet before."""
        ...

    def stop_run(self, session_id: str, run_id: str) -> None:
        """End one run; the instance stays and goes on billing."""
        ...

    def resume(self, session_id: str) -> None:
        """Drive a session on that was cut off or has failed."""
        ...

    def ssh_argv(self, session_id: str) -> list[str] | None:
        """The command that opens a shell on the instance; None where there is none to reach."""
        ...
