"""Beginning and going on: a new session in the store, and a process of its own that drives it.

The driver is detached: it outlives the terminal, the TUI and the CLI that asked for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpusess import paths
from gpusess.errors import SessionError
from gpusess.sessions.board import DRIVER_LOG, waits
from gpusess.sessions.driver_lock import is_driven
from gpusess.sessions.states import State
from gpusess.sessions.store import Store

if TYPE_CHECKING:
    from gpusess.spec import Spec

START_PATIENCE = 15.0

_COLOURS = "amber azure blue cedar coral cyan dusk ember fawn frost gold green hazel indigo iris ivory jade"
_BIRDS = "crane dove egret finch grebe heron ibis jay kite lark merlin owl petrel quail robin swift tern wren"


def open_store() -> Store:
    paths.private_dir(paths.home())
    return Store(paths.database())


def new_session(
    store: Store,
    spec: Spec,
    text: str,
    path: Path,
    *,
    provider: str | None = None,
    options: dict[str, Any] | None = None,
) -> str:
    """Write a session down as `requested`; its id. Nothing is launched yet.

    provider: the first of the spec's that can be used; options: what the command line said beside the spec.
    """
    import secrets

    session_id = secrets.token_hex(4)
    runs = [(f"{session_id}-{run.name}", run.name) for run in spec.runs]
    store.add_session(
        id=session_id,
        name=free_name(store),
        job=spec.name,
        provider=provider or spec.resources.provider[0],
        spec=text,
        spec_path=str(path.resolve()),
        options={**_limits(spec), **(options or {})},
        runs=runs,
    )
    return session_id


def _limits(spec: Spec) -> dict[str, Any]:
    """What whoever shows the session wants to know of its limits without reading the spec."""
    wanted = spec.resources
    limits = {"budget": wanted.budget, "max_hours": wanted.max_hours}
    return {name: value for name, value in limits.items() if value is not None}


def free_name(store: Store) -> str:
    """A name that no session has yet."""
    import secrets

    taken = {s.name for s in store.sessions()}
    colours, birds = _COLOURS.split(), _BIRDS.split()
    for _ in range(1000):
        name = f"{secrets.choice(colours)}-{secrets.choice(birds)}"
        if name not in taken:
            return name
    return f"session-{secrets.token_hex(3)}"


def ensure_driver(session_id: str, *, resume: bool = False, wait: bool = True) -> None:
    """Make sure that a process drives the session; returns once it does (or has come to its end), or at once
    without `wait`.

    Raises SessionError where the driver dies at once; its log says why.
    """
    if is_driven(session_id):
        return
    log = paths.private_dir(paths.session_dir(session_id)) / DRIVER_LOG
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gpusess", "drive", session_id, *(["--resume"] if resume else [])],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=Path.home(),
            start_new_session=True,
            env=os.environ,
        )
    deadline = time.monotonic() + START_PATIENCE
    while wait and not is_driven(session_id) and time.monotonic() < deadline:
        code = process.poll()
        if code == 0:
            return
        if code is not None:
            raise SessionError(f"the session's driver ended at once (exit {code})", f"see {log}")
        time.sleep(0.02)


def resume(store: Store, session_id: str, *, wait: bool = True) -> None:
    """Go on with what is missing: runs that failed or were stopped wait again, and a driver takes over. The
    driver of a session that is kept takes them up itself."""
    row = store.session(session_id)
    driven = is_driven(session_id)
    if driven and not waits(row, store.runs(session_id)):
        raise SessionError(f"{row.name} is being driven already", f"`gpusess attach {row.name}` shows it")
    if not store.runs(session_id) and not row.spec:
        raise SessionError(
            f"{row.name} is an adopted instance: there is nothing to resume",
            f"`gpusess terminate {row.name}` gives it back",
        )
    unfinished = [run for run in store.runs(session_id) if run.status != "complete"]
    if not unfinished and row.state is State.TERMINATED:
        raise SessionError(f"{row.name} is complete: nothing is missing", f"`gpusess results {row.name}`")
    for run in unfinished:
        if run.status in ("failed", "stopped"):
            store.update_run(run.id, status="pending", detail="")
    if driven:
        store.ask(session_id, "take_up")
    ensure_driver(session_id, resume=True, wait=wait)


def ask_to_terminate(store: Store, session_id: str, *, pull: bool, wait: bool = True) -> None:
    """Ask the driver to give the instance back, and start one where none drives."""
    row = store.session(session_id)
    if row.state is State.TERMINATED:
        raise SessionError(f"{row.name} is terminated already: nothing of it bills")
    store.ask(session_id, "terminate", pull=pull)
    ensure_driver(session_id, wait=wait)
