"""What a user asks for in the TUI, carried to the process that drives the session."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from gpusess.sessions import start
from gpusess.sessions.asks import STEER, STOP_RUN
from gpusess.sessions.store import Store

if TYPE_CHECKING:
    from gpusess.providers.base import Offer
    from gpusess.sessions.leftovers import Found
    from gpusess.sessions.offers import Answer
    from gpusess.sessions.wizard import Estimate, Guard, Job

T = TypeVar("T")


class DriverIntents:
    """Writes requests down and makes sure that somebody reads them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def terminate(self, session_id: str, pull_first: bool) -> None:
        start.ask_to_terminate(self._store, session_id, pull=pull_first, wait=False)

    def stop_run(self, session_id: str, run_id: str) -> None:
        self._store.ask(session_id, STOP_RUN, run=run_id)
        start.ensure_driver(session_id, wait=False)

    def steer(self, session_id: str, run_id: str, ask: dict[str, Any]) -> None:
        import secrets

        from remote_agent.train_protocol import Ask

        valid = Ask.model_validate({"id": secrets.token_hex(6), **ask})
        self._store.ask(session_id, STEER, run=run_id, ask=valid.model_dump())
        start.ensure_driver(session_id, wait=False)

    def resume(self, session_id: str) -> None:
        start.resume(self._store, session_id, wait=False)

    def ssh_argv(self, session_id: str) -> list[str] | None:
        """The command line of the user's own `ssh` to the instance; None while there is none."""
        from gpusess.providers.base import HostKey
        from gpusess.remote.keys import ssh_argv
        from gpusess.sessions import host_keys
        from gpusess.sessions.context import open_context
        from gpusess.sessions.link import own_target, rented_target

        row = self._store.session(session_id)
        if row.endpoint is None:
            return None
        ctx = open_context(self._store, session_id)
        if ctx.provider.abilities.host_key is HostKey.OWN:
            target = _in_a_thread(own_target(ctx.provider, row))
        elif host_keys.pinned(ctx):
            target = rented_target(ctx, row)
        else:
            return None
        return ssh_argv(target, ctx.folder / "known_hosts")

    def look_around(self) -> None:
        """Ask the providers what they list, in a process of its own, where there ever was anything."""
        import subprocess
        import sys

        from gpusess.sessions.offers import NOT_OFFERING

        ledger = self._store.ledger
        known = {s.provider for s in ledger.sightings()} | {r.provider for r in ledger.rentals()}
        if known - set(NOT_OFFERING):
            subprocess.Popen(
                [sys.executable, "-m", "gpusess", "instances", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def stranger(self, provider: str, instance_id: str, answer: str) -> None:
        from gpusess.errors import SessionError
        from gpusess.sessions import reconcile, strangers

        every = strangers.strangers(self._store.ledger)
        found = [s for s in every if (s.provider, s.instance.id) == (provider, instance_id)]
        if not found:
            raise SessionError(f"{instance_id} is no unknown instance any more")
        if answer == "ignore":
            self._store.ledger.ignore(provider, instance_id, time.time())
            return
        session_id = reconcile.adopt(self._store, found[0], start.free_name(self._store))
        if answer == "terminate":
            start.ask_to_terminate(self._store, session_id, pull=False, wait=False)

    def reach(self, session_id: str) -> str:
        import shlex

        store = start.open_store()
        try:
            return shlex.join(DriverIntents(store).ssh_argv(session_id) or [])
        finally:
            store.close()

    def leftovers(self) -> list[Found]:
        import asyncio

        from gpusess.sessions import leftovers

        return asyncio.run(leftovers.look_for())

    def jobs(self) -> list[Job]:
        from gpusess.sessions import wizard

        return wizard.jobs()

    def offers(self, *, ask: bool, on_answer: Callable[[Answer], None] | None = None) -> list[Answer]:
        import asyncio

        from gpusess.sessions import offers

        return asyncio.run(offers.ask_all(on_answer=on_answer)) if ask else offers.last_answers()

    def own_machines(self, job: Job) -> list[Answer]:
        import asyncio

        from gpusess.sessions import wizard

        return asyncio.run(wizard.own_machines(job))

    def estimate(self, job: Job, offer: Offer, guard: Guard) -> Estimate:
        from gpusess.sessions import wizard

        return wizard.estimate(job, offer, guard, time.time())

    def launch(self, job: Job, offer: Offer, guard: Guard) -> str:
        from gpusess.sessions import wizard

        return wizard.launch(job, offer, guard)


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end: the caller may stand in a loop of its own."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
