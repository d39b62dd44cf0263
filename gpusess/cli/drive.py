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
    from gpusess.errors import GpusessError
    from gpusess.sessions.context import open_context
    from gpusess.sessions.driver import Driver
    from gpusess.sessions.driver_lock import DriverLock
    from gpusess.sessions.start import open_store
    from gpusess.sessions.states import State
    from remote_agent.logs import setup_logging

    setup_logging()
    for noisy in ("asyncssh", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    store = open_store()
    lock = DriverLock(session)
    try:
        state = asyncio.run(Driver(open_context(store, session)).drive(resume))
    except GpusessError as exc:
        # Without a context there is no driver to say it: the session must not look alive.
        store.move(session, State.FAILED, exc.message, error=exc.message, hint=exc.hint)
        logging.getLogger("driver").error("%s (%s)", exc.message, exc.hint)
        return exc.exit_code
    finally:
        lock.release()
        store.close()
    logging.getLogger("driver").info("the driver ends; the session is %s", state)
    return 0
