"""Passing a user's asks on to a training that runs, while it is followed: the follower is not disturbed, so
that a training that pauses is not taken for one that has to be started again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gpusess.errors import GpusessError
from gpusess.sessions.asks import STEER, STOP_RUN, in_words

if TYPE_CHECKING:
    from gpusess.sessions.context import Context
    from gpusess.sessions.link import Link
    from gpusess.sessions.store import Request, Store

log = logging.getLogger("driver")

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
            _drop(ctx.store, request, f"the training could not be reached within {PATIENCE / 60:g} minutes")
        elif not await _passed_on(ctx, link, request):
            return


def forget(store: Store, session: str, run: str) -> None:
    """The run's supervisor is started anew: what an earlier one was given is not done any more."""
    for request in store.requests(STEER, STOP_RUN):
        ours = request.session == session and request.args["run"] == run
        if ours and request.taken is not None and "dropped" not in request.args:
            store.drop_request(request, "the training was started anew before it came to that")


async def _passed_on(ctx: Context, link: Link, request: Request) -> bool:
    """Whether it is settled, passed on or dropped; else it is worth another try."""
    run = next((run for run in ctx.store.runs(ctx.id) if run.id == request.args["run"]), None)
    if run is None or run.status != "running":
        _drop(ctx.store, request, "that run does not run")
        return True
    if link.live is None:
        return False  # whoever follows the run is connecting; two at once would be one too many
    try:
        agent = await link.agent()
        refused = await asyncio.wait_for(agent.steer(run.id, request.args["ask"]), LIMIT)
    except (GpusessError, TimeoutError) as exc:
        log.warning("not asked to %s yet: %s", in_words(request.args["ask"]), exc)
        return False
    if refused:
        _drop(ctx.store, request, refused)
    else:
        ctx.store.take_request(request.id)
        log.info("asked the training to %s: it is done at the end of a step", in_words(request.args["ask"]))
    return True


def _drop(store: Store, request: Request, why: str) -> None:
    store.drop_request(request, why)
    log.warning("the training was not asked to %s: %s", in_words(request.args["ask"]), why)
