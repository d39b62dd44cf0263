"""Passing a user's asks on to a training that runs, while it is followed: the follower is not disturbed, so
that a training that pauses is not taken for one that has to be started again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gpusess.errors import GpusessError

if TYPE_CHECKING:
    from gpusess.sessions.context import Context
    from gpusess.sessions.link import Link
    from gpusess.sessions.store import Request

log = logging.getLogger("driver")

STEER = "steer"
"""The verb of such a request."""
LIMIT = 15.0
"""Seconds for one try: other requests wait meanwhile."""
PATIENCE = 600.0
"""Seconds after which an ask is dropped that could not be passed on: who asked has gone on long since."""


async def pass_on(ctx: Context, link: Link) -> None:
    """Give what is asked of the session's running training to the agent; nothing here ends the session.

    A request counts as taken once the agent has it: until then it is tried again, and the ask's id makes sure
    that it is done once.
    """
    for request in ctx.store.open_requests(ctx.id):
        if request.verb != STEER:
            continue
        if ctx.clock() - request.at > PATIENCE:
            log.warning("the training was not asked to %s: it could not be reached in time", _what(request))
        elif not await _passed_on(ctx, link, request):
            return
        ctx.store.take_request(request.id)


async def _passed_on(ctx: Context, link: Link, request: Request) -> bool:
    """False where it is worth another try."""
    run = next((run for run in ctx.store.runs(ctx.id) if run.id == request.args["run"]), None)
    if run is None or run.status != "running":
        log.warning("not asked to %s: that run does not run", _what(request))
        return True
    if link.live is None:
        return False  # whoever follows the run is connecting; two at once would be one too many
    try:
        agent = await link.agent()
        refused = await asyncio.wait_for(agent.steer(run.id, request.args["ask"]), LIMIT)
    except (GpusessError, TimeoutError) as exc:
        log.warning("not asked to %s yet: %s", _what(request), exc)
        return False
    if refused:
        log.warning("not asked to %s: %s", _what(request), refused)
    else:
        log.info("asked the training to %s: it is done at the end of a step", _what(request))
    return True


def _what(request: Request) -> str:
    return str(request.args["ask"]["action"])
