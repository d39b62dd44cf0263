"""What leaves the app: text for the clipboard and a file, and a shell on the instance."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from gpusess import paths
from gpusess.analysis.text import clean
from gpusess.errors import GpusessError
from gpusess.sessions.board import SessionView

if TYPE_CHECKING:
    from gpusess.tui.app import CockpitApp

CLIP = "clip.txt"
"""In the data folder: for terminals without a clipboard."""


def copy(app: CockpitApp, text: str) -> None:
    """To the terminal's clipboard, and into a file where this app may write."""
    if not text:
        app.say("nothing to copy here")
        return
    text = harmless(text)
    app.copy_to_clipboard(text)
    first, _, more = text.partition("\n")
    shown = f"{first[:60]}…" if more or len(first) > 60 else first
    if not app.looks_only:
        (paths.private_dir(paths.home()) / CLIP).write_text(text + "\n", encoding="utf-8")
        shown += f"\nalso in {CLIP} of the data folder"
    app.say(shown, title="Copied", timeout=3)


def harmless(text: str) -> str:
    """What is pasted, or printed from the file, must not act on a terminal: as it was drawn, and whole."""
    return "\n".join(clean(line, 4 * len(line) + 1) for line in text.splitlines())


def shell(app: CockpitApp, session: SessionView | None) -> None:
    """The user's own `ssh` on the terminal, until it ends."""
    argv = _argv(app, session) if session else None
    if not argv:
        app.say("there is no instance to reach yet", severity="warning")
        return
    try:
        with app.suspend():
            subprocess.call(argv)
    except SuspendNotSupported:
        app.say("no shell from this terminal", severity="warning")
    except OSError as exc:
        app.say(f"{argv[0]}: {exc.strerror}", severity="error")


def ssh_command(app: CockpitApp, session: SessionView) -> str:
    """The line to copy; the session's name where there is no instance to reach."""
    argv = _argv(app, session)
    return shlex.join(argv) if argv else session.row.name


def _argv(app: CockpitApp, session: SessionView) -> list[str] | None:
    """The command; None, with a word about why, where there is none."""
    try:
        return app.intents.ssh_argv(session.row.id)
    except GpusessError as exc:
        app.say(exc.hint, title=exc.message, severity="error", timeout=10)
        return None
