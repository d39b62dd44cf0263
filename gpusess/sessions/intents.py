"""What a user asks for in the TUI, carried to the process that drives the session."""

from __future__ import annotations

from gpusess.sessions import start
from gpusess.sessions.store import Store


class DriverIntents:
    """Writes requests down and makes sure that somebody reads them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def terminate(self, session_id: str, pull_first: bool) -> None:
        start.ask_to_terminate(self._store, session_id, pull=pull_first, wait=False)

    def stop_run(self, session_id: str, run_id: str) -> None:
        self._store.ask(session_id, "stop_run", run=run_id)
        start.ensure_driver(session_id, wait=False)

    def resume(self, session_id: str) -> None:
        start.resume(self._store, session_id, wait=False)

    def ssh_argv(self, session_id: str) -> list[str] | None:
        """The command line of the user's own `ssh` to the instance; None while there is none."""
        import asyncio

        from gpusess.remote.keys import ssh_argv
        from gpusess.sessions.context import open_context
        from gpusess.sessions.link import session_target

        if self._store.session(session_id).endpoint is None:
            return None
        ctx = open_context(self._store, session_id)
        return ssh_argv(asyncio.run(session_target(ctx)), ctx.folder / "known_hosts")
