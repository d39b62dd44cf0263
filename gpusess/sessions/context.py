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
from gpusess.sessions.asks import STEER
from gpusess.sessions.ledger import Ledger, Rental
from gpusess.sessions.states import State
from gpusess.sessions.store import SessionRow, Store
from gpusess.sessions.waiting import Wait
from gpusess.spec import Resources, Spec, parse_spec

log = logging.getLogger("driver")
link_log = logging.getLogger("ssh")
"""For what concerns the link: a source of its own where logs are shown."""

ADOPTED = "adopted"
"""The job of a session that stands for an instance which another laptop, or nobody here, launched."""


@dataclass(slots=True)
class Context:
    """One session that is being driven."""

    store: Store
    id: str
    spec: Spec
    provider: Provider
    """The one that the present instance is rented from. With several in the spec, it is chosen at launch."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Any] = asyncio.sleep
    folder: Path = field(init=False)
    _open: dict[str, Provider] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = paths.private_dir(paths.session_dir(self.id))
        self._open[self.provider.name] = self.provider

    @property
    def row(self) -> SessionRow:
        """The session as it stands in the store now."""
        return self.store.session(self.id)

    @property
    def ledger(self) -> Ledger:
        return self.store.ledger

    @property
    def rental(self) -> Rental | None:
        """The ledger's line of the present instance."""
        name = self.row.launch_name
        return self.ledger.rental(name) if name else None

    def wait(self) -> Wait:
        return Wait(self.clock, self.sleep)

    def asked(self) -> bool:
        """Whether the user asks for something else meanwhile."""
        return any(request.verb != STEER for request in self.store.open_requests(self.id))

    def move(self, state: State, detail: str = "", **changes: Any) -> None:
        """One durable transition, and a line of it in the log."""
        self.store.move(self.id, state, detail, **changes)
        log.info("%s%s", state, f": {detail}" if detail else "")

    def say(self, text: str, to: logging.Logger = log) -> None:
        """Tell the user what is going on: in the log, and as the state's detail."""
        if text != self.row.detail:
            to.info("%s", text)
            self.store.update(self.id, detail=text)

    def provider_named(self, name: str) -> Provider:
        """One of the spec's providers, opened once. Raises AuthRefused where there is no key for it."""
        if name not in self._open:
            self._open[name] = open_provider(name, self.spec.resources.options_for(name))
        return self._open[name]

    def use(self, name: str) -> None:
        """From here on the session's provider is that one."""
        self.provider = self.provider_named(name)

    def read_spec(self) -> None:
        """Take the spec from the store again: a run was added to it."""
        self.spec = _overridden(_stored(self.row), self.row)

    async def close(self) -> None:
        """Let go of the providers' connections."""
        for provider in self._open.values():
            await provider.close()


def open_context(store: Store, session_id: str) -> Context:
    """The context of a stored session. Raises SpecError, SessionError."""
    row = store.session(session_id)
    spec = _adopted(row) if row.job == ADOPTED and not row.spec else _overridden(_stored(row), row)
    provider = open_provider(row.provider, spec.resources.options_for(row.provider))
    return Context(store, session_id, spec, provider)


def _stored(row: SessionRow) -> Spec:
    # The files were looked at when the session was requested; on resume they may have moved on.
    return parse_spec(row.spec, row.spec_path, Path(row.spec_path).parent, files=False)


def _overridden(spec: Spec, row: SessionRow) -> Spec:
    """The spec with what was chosen at the start in its place: an offer, limits (see `wizard.Choice`)."""
    chosen = row.options.get("overrides")
    if not chosen:
        return spec
    valid = Resources.model_validate(chosen)
    update = {name: getattr(valid, name) for name in chosen}
    return spec.model_copy(update={"resources": spec.resources.model_copy(update=update)})


def _adopted(row: SessionRow) -> Spec:
    """An adopted instance has no runs of ours: it can be looked at and given back."""
    return Spec.model_construct(name=ADOPTED, resources=Resources(provider=[row.provider]), runs=[])
