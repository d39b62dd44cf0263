"""Beginning a sweep: on the training's own instance while that lives, else in a session of its own that rents
what the training rented. The run is an entry like any other; what it does is the driver's and the agent's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gpusess.errors import SessionError
from gpusess.sessions.driver_lock import is_driven
from gpusess.sessions.find_runs import RunPlace, find_journals, sweep_arms
from gpusess.sessions.start import ensure_driver, new_session
from gpusess.sessions.states import State
from gpusess.sessions.store import SessionRow, Store
from gpusess.spec import parse_spec
from gpusess.spec.document import read_document

RUN = "sweep"
COPIED = ("model", "revision", "task", "engine", "generate", "force")
"""Of the training's entry: it was evaluated like that meanwhile."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be swept: the entry of the training in a spec, and where its checkpoints are."""

    text: str
    """The spec."""
    path: Path
    """Its file, which relative paths start from."""
    run: str
    """The training's name in it."""
    of: str
    """`SESSION/RUN`, or a folder here."""
    limit: int | None = None
    base: bool = True


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the sweep runs."""

    session: str
    run: str
    """Its name in that session."""
    there_already: bool
    """The session is the training's own."""


def find_sweep(store: Store, name: str) -> RunPlace | None:
    """The sweep that `name` means: itself, or the only one of a session. Raises SessionError."""
    found = [place for place in find_journals(store, name) if sweep_arms(place.folder)]
    if len(found) > 1:
        names = ", ".join(place.label for place in found)
        raise SessionError(f"{name} has several sweeps", f"name one of them: {names}")
    return found[0] if found else None


def training_of(store: Store, name: str) -> tuple[SessionRow, str]:
    """The session and the name of the one training that `name` means. Raises SessionError."""
    session, _, run = name.partition("/")
    row = store.find(session)
    trainings = [entry["name"] for entry in _entries(row.spec) if entry.get("train")]
    chosen = [name for name in trainings if run in ("", name, f"{row.id}-{name}")]
    if len(chosen) == 1:
        return row, chosen[0]
    if not chosen:
        raise SessionError(
            f"{name} is no training", "name one: SESSION, SESSION/RUN or a folder of checkpoints"
        )
    names = ", ".join(f"{row.name}/{name}" for name in chosen)
    raise SessionError(f"{row.name} has several trainings", f"name one of them: {names}")


def begin(store: Store, wanted: Wanted, row: SessionRow | None, provider: Any) -> Begun:
    """Write the sweep down and start, or tell, the process that sees it through.

    row: the training's session; provider: says which of a spec's providers can be used.
    """
    if row is not None and _lives(row):
        name = free_run(store, row)
        text = _with_run(wanted, name, within=True)
        store.add_run(row.id, f"{row.id}-{name}", name, spec=text)
        return Begun(row.id, name, there_already=True)
    text = _with_run(wanted, RUN, within=False)
    spec = parse_spec(text, str(wanted.path), wanted.path.parent)
    overrides = {"overrides": row.options["overrides"]} if row and row.options.get("overrides") else {}
    options: dict[str, Any] = overrides
    id = new_session(store, spec, text, wanted.path, provider=provider(spec.resources), options=options)
    ensure_driver(id)
    return Begun(id, RUN, there_already=False)


def _lives(row: SessionRow) -> bool:
    return row.state in (State.READY, State.RUNNING) and is_driven(row.id)


def free_run(store: Store, row: SessionRow) -> str:
    """A run's name that the session does not have yet."""
    taken = {run.name for run in store.runs(row.id)}
    return next(n for n in (RUN, *(f"{RUN}-{i}" for i in range(2, 1000))) if n not in taken)


def _with_run(wanted: Wanted, name: str, *, within: bool) -> str:
    """The spec with the sweep as a further run, or as the only one."""
    value = read_document(wanted.text).value
    training = next(entry for entry in value["runs"] if entry["name"] == wanted.run)
    entry = {"name": name, **{key: training[key] for key in COPIED if training.get(key) is not None}}
    if wanted.limit is not None:
        entry["task"] = {**entry["task"], "limit": wanted.limit}
    entry["sweep"] = {"of": wanted.run if within else wanted.of, "base": wanted.base}
    whole = {**value, "runs": [*value["runs"], entry] if within else [entry]}
    if not within:
        whole = {**whole, "name": f"{value['name'][:34]}-sweep", "after": "terminate"}
    return str(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True))


def _entries(text: str) -> list[dict[str, Any]]:
    value = read_document(text).value if text else None
    found: list[dict[str, Any]] = (value or {}).get("runs") or []
    return found
