"""From what a user types to a run's mirror: `SESSION`, `SESSION/RUN`, or a folder that holds a journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpusess import paths
from gpusess.errors import SessionError
from gpusess.sessions.store import Store
from remote_agent.files import JOURNAL


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A run, where its mirror lies, and what it is called in tables."""

    label: str
    folder: Path


def find_runs(store: Store, name: str) -> list[RunPlace]:
    """The runs that `name` means: one, or all begun ones of a session. Raises SessionError for none."""
    folder = Path(name).expanduser()
    if folder.name == JOURNAL:
        folder = folder.parent
    if (folder / JOURNAL).is_file():
        return [RunPlace(folder.resolve().name, folder)]
    session, _, run = name.partition("/")
    row = store.find(session)
    runs = store.runs(row.id)
    chosen = [r for r in runs if run in (r.name, r.id)] if run else [r for r in runs if r.started is not None]
    if not chosen:
        known = ", ".join(f"{row.name}/{r.name}" for r in runs)
        what = f"no run '{run}' in {row.name}" if run else f"no run of {row.name} has begun"
        raise SessionError(what, f"its runs: {known}")
    alone = len(runs) == 1
    return [
        RunPlace(row.name if alone else f"{row.name}/{r.name}", paths.run_dir(row.id, r.id)) for r in chosen
    ]


def find_run(store: Store, name: str) -> RunPlace:
    """The one run that `name` means. Raises SessionError where it means several."""
    found = find_runs(store, name)
    if len(found) > 1:
        names = ", ".join(place.label for place in found)
        raise SessionError(f"{name} has several runs", f"name one of them: {names}")
    return found[0]
