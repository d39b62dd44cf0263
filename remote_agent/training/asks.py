"""What a user asks of a training while it runs: notes in a folder of the run, taken at the end of a step.

A note is whole or not there. It is taken once: the journal's record of what was done bears its id.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from pydantic import ValidationError

from remote_agent.control import supervisor_pid
from remote_agent.train_protocol import Ask

FOLDER = "asks"


def main(run: Path) -> int:
    """Leave the ask on stdin (JSON) for the run's training; prints one JSON line."""
    try:
        ask = Ask.model_validate_json(sys.stdin.read())
    except ValidationError as exc:
        print(json.dumps({"error": f"no ask: {exc.errors()[0]['msg']}"}))
        return 0
    if supervisor_pid(run) is None:
        print(json.dumps({"error": "the run does not run"}))
        return 0
    leave(run, ask)
    print(json.dumps({"left": ask.id}))
    return 0


def leave(run: Path, ask: Ask) -> None:
    """Put an ask where the training finds it; the same id again replaces it."""
    folder = run / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    aside = folder / f"{ask.id}.tmp"
    aside.write_text(ask.model_dump_json(), encoding="utf-8")
    aside.replace(folder / f"{ask.id}.json")


def forget(run: Path) -> None:
    """Take no ask up that an earlier supervisor's training has left."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


class Asks:
    """The asks of one run, for its training. `answered`: ids that the journal holds an answer to."""

    def __init__(self, run: Path, answered: set[str]) -> None:
        self._folder = run / FOLDER
        self._answered = answered

    def next(self) -> Ask | None:
        """The oldest ask without an answer; costs one look at a folder that mostly is not there."""
        try:
            found = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        except FileNotFoundError:
            return None
        for path in found:
            ask = Ask.model_validate_json(path.read_bytes())
            if ask.id not in self._answered:
                return ask
            path.unlink()
        return None
