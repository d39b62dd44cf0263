"""Bringing home what is on an instance that nobody drives."""

from __future__ import annotations

from gpusess.sessions.context import open_context
from gpusess.sessions.link import Link
from gpusess.sessions.running import RunFollower
from gpusess.sessions.store import Store


async def pull_all(store: Store, session_id: str) -> None:
    """Complete the mirrors of all runs that have begun. The caller holds the session's DriverLock."""
    ctx = open_context(store, session_id)
    link = Link(ctx)
    try:
        for run in store.runs(session_id):
            if run.started is None:
                continue
            follower = RunFollower(ctx, link, run)
            try:
                await follower.pull_rest()
            finally:
                follower.close()
    finally:
        await link.close()
