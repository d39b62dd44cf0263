"""From what a user types to a run's mirror: `SESSION`, `SESSION/RUN`, or a folder that holds a journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpusess import paths
from gpusess.errors import SessionError
from gpusess.sessions.store import Store
from remote_agent.files import JOURNAL
from remote_agent.journal import BadLine, decode

ARM_MARK = "@"
"""Between a sweep's name and that of one of its checkpoints."""


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A run, where its mirror lies, and what it is called in tables."""

    label: str
    folder: Path
    arm: str = ""
    """Of a sweep: the one checkpoint that is meant."""


def find_runs(store: Store, name: str) -> list[RunPlace]:
    """The runs that `name` means: one, or all begun ones of a session. Of a sweep each checkpoint is a run;
    `SESSION/RUN@CHECKPOINT` means one of them. Raises SessionError for none."""
    whole, mark, arm = name.rpartition(ARM_MARK)
    if mark and not (Path(name).expanduser() / JOURNAL).is_file():
        found = [place for place in find_runs(store, whole) if place.arm == arm]
        if not found:
            raise SessionError(f"{whole} has no checkpoint '{arm}'", f"`gpusess sweep {whole}` lists them")
        return found
    return [arm for place in find_journals(store, name) for arm in arms_of(place)]


def arms_of(place: RunPlace) -> list[RunPlace]:
    """A sweep's checkpoints, in the order of their steps; any other run itself."""
    names = sweep_arms(place.folder)
    return [RunPlace(f"{place.label}{ARM_MARK}{arm}", place.folder, arm) for arm in names] or [place]


def sweep_arms(folder: Path) -> list[str]:
    """The names of a sweep's checkpoints, from the beginning of its mirror; empty for any other run."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            for line in file:
                record = decode(line)
                if record["kind"] == "swept":
                    return [arm["name"] for arm in record["arms"]]
                if record["kind"] in _BEGUN:
                    return []
    except (BadLine, FileNotFoundError):
        pass  # whoever reads the run says what is wrong with it
    return []


_BEGUN = {"planned", "train_planned", "begin"}
"""Records that follow on what a run is."""


def find_journals(store: Store, name: str) -> list[RunPlace]:
    """As `find_runs`, with a sweep as the one run that it is."""
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
