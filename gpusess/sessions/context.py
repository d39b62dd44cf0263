"""What every step of a session's life has at hand: the store, the spec, the provider, the folder, the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpusess import paths
from gpusess.providers import open_provider
from gpusess.providers.base import Provider
from gpusess.sessions.states import State
from gpusess.sessions.store import SessionRow, Store
from gpusess.spec import Spec, parse_spec

log = logging.getLogger("driver")


@dataclass(slots=True)
class Context:
    """One session that is being driven."""

    store: Store
    id: str
    spec: Spec
    provider: Provider
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Any] = asyncio.sleep
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = paths.private_dir(paths.session_dir(self.id))

    @property
    def row(self) -> SessionRow:
        """The session as it stands in the store now."""
        return self.store.session(self.id)

    def move(self, state: State, detail: str = "", **changes: Any) -> None:
        """One durable transition, and a line of it in the log."""
        self.store.move(self.id, state, detail, **changes)
        log.info("%s%s", state, f": {detail}" if detail else "")

    def say(self, text: str) -> None:
        """Tell the user what is going on: in the log, and as the state's detail."""
        log.info("%s", text)
        self.store.update(self.id, detail=text)


def open_context(store: Store, session_id: str) -> Context:
    """The context of a stored session. Raises SpecError, SessionError."""
    row = store.session(session_id)
    # The files were looked at when the session was requested; on resume they may have moved on.
    spec = parse_spec(row.spec, row.spec_path, Path(row.spec_path).parent, files=False)
    provider = open_provider(row.provider, spec.resources.options)
    return Context(store, session_id, spec, provider)
