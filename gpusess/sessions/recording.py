"""What can be replayed: a session of the store with its runs, or a bare folder with a run's journals. Nothing
is changed, and for a folder no store is needed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpusess import paths
from gpusess.errors import SessionError
from gpusess.sessions.states import State
from gpusess.sessions.store import RunRow, SessionRow, Transition
from remote_agent.files import EVENTS, JOURNAL, SUPERVISOR_LOG, WORKER_LOG

if TYPE_CHECKING:
    from gpusess.sessions.store import Store

AFTERWARDS = 600.0
"""Seconds after the last record in which a session's end is still part of the recording."""
_TAIL = 1 << 20
_STAMP = re.compile(rb'^\{"v":\d+,"seq":\d+,"ts":(\d+(?:\.\d+)?)', re.MULTILINE)


@dataclass(slots=True)
class Recording:
    """One session as it was."""

    row: SessionRow
    transitions: list[Transition]
    runs: list[tuple[RunRow, Path]]
    logs: list[tuple[str, Path]]
    """(source, file)"""
    start: float
    end: float
    bare: bool
    """A folder without its session: its states are told from its journal alone."""


def find_recording(name: str) -> Recording:
    """SESSION, SESSION/RUN, or a folder with a journal. Raises SessionError where there is none."""
    folder = Path(name).expanduser()
    if folder.name in (JOURNAL, EVENTS):
        folder = folder.parent
    if (folder / JOURNAL).is_file() or (folder / EVENTS).is_file():
        return _of_folder(folder.resolve())
    from gpusess.sessions.start import open_store

    return _of_session(open_store(), name)


def _of_folder(folder: Path) -> Recording:
    start, end = span(folder)
    name = folder.name
    row = SessionRow(
        id=name, name=name, job=name, provider="replay", spec="", spec_path="", created=start,
        state=State.RUNNING, since=start, detail="", launch_name=None, instance_id=None, offer=None,
        price=0.0, endpoint=None, launched=None, ended=None, error="", hint="", options={},
    )  # fmt: skip
    run = RunRow(name, name, 0, name, _outcome(folder), "", start, None)
    moves = [Transition(name, start, State.RUNNING, "")]
    return Recording(row, moves, [(run, folder)], _run_logs(folder), start, end, bare=True)


def _of_session(store: Store, name: str) -> Recording:
    session, _, wanted = name.partition("/")
    row = store.find(session)
    every = [(run, paths.run_dir(row.id, run.id)) for run in store.runs(row.id)]
    runs = [(run, folder) for run, folder in every if not wanted or wanted in (run.name, run.id)]
    if not runs:
        known = ", ".join(f"{row.name}/{run.name}" for run, _ in every)
        raise SessionError(f"no run '{wanted}' in {row.name}", f"its runs: {known}")
    shown = [(run, folder) for run, folder in runs if (folder / JOURNAL).is_file()]
    if not shown:
        raise SessionError(f"{name} has nothing at home to replay", f"`gpusess status {row.name}` says why")
    spans = [span(folder) for _, folder in shown]
    moves = store.transitions(row.id)
    began, end = min(start for start, _ in spans), max(end for _, end in spans)
    end = max([end, *(move.at for move in moves if move.at < end + AFTERWARDS)])
    if not wanted:
        began = min([began, *(move.at for move in moves)])
    home = paths.session_dir(row.id)
    logs = [("local", home / "driver.log"), ("setup", home / "setup.log")]
    logs += [log for _, folder in shown for log in _run_logs(folder)]
    return Recording(row, moves, shown, logs, began, end, bare=False)


def _run_logs(folder: Path) -> list[tuple[str, Path]]:
    return [("worker", folder / WORKER_LOG), ("agent", folder / SUPERVISOR_LOG)]


def span(folder: Path) -> tuple[float, float]:
    """The times of a run's first and last record. Raises SessionError where it has none."""
    stamps: list[float] = []
    for name in (JOURNAL, EVENTS):
        try:
            with (folder / name).open("rb") as file:
                head = file.read(4096)
                file.seek(max(0, file.seek(0, 2) - _TAIL))
                tail = file.read()
        except FileNotFoundError:
            continue
        stamps += [float(found) for found in (*_STAMP.findall(head)[:1], *_STAMP.findall(tail))]
    if not stamps:
        raise SessionError(f"{folder} has no record to replay", "`gpusess status` shows what has come home")
    return min(stamps), max(stamps)


def _outcome(folder: Path) -> str:
    """How the run ended by its journal's last lines; running where it does not say."""
    for name, kind in ((JOURNAL, "finished"), (EVENTS, "ended")):
        if not (folder / name).is_file():
            continue
        with (folder / name).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            lines = file.read().splitlines()
        for line in reversed(lines[-3:]):
            if f'"kind":"{kind}"'.encode() in line:
                return str(json.loads(line)["outcome"])
    return "running"
