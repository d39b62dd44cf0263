"""`gpusess drive`: the process that drives one session. Started by other commands, not by hand."""

from __future__ import annotations

import asyncio
import logging

import click


@click.command("drive", hidden=True)
@click.argument("session")
@click.option("--resume", is_flag=True)
def command(session: str, resume: bool) -> int:
    """Drive SESSION until it ends, fails or is to be kept."""
    from gpusess.sessions.context import open_context
    from gpusess.sessions.driver import Driver
    from gpusess.sessions.driver_lock import DriverLock
    from gpusess.sessions.start import open_store
    from remote_agent.logs import setup_logging

    setup_logging()
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    store = open_store()
    lock = DriverLock(session)
    try:
        state = asyncio.run(Driver(open_context(store, session)).drive(resume))
    finally:
        lock.release()
        store.close()
    logging.getLogger("driver").info("the driver ends; the session is %s", state)
    return 0
