"""The lease, from this side: starting the watch on the instance, sending it words while somebody drives the
session, and saying honestly what ends the instance when nobody does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from gpusess.errors import GpusessError, ProviderError
from gpusess.providers.base import EndCommand, EndsItself, LeaseEnd, MovesDeadline
from gpusess.remote.agent import Agent
from gpusess.remote.keys import printable
from gpusess.remote.ssh import Connection
from gpusess.sessions import presence, promises
from gpusess.sessions.context import Context, log
from gpusess.sessions.link import Link

WORD = "touch ~/.gpusess/lease/word; cat ~/.gpusess/lease/notice.json 2>/dev/null"
WORD_EVERY = 60.0
SPOT_EVERY = 5.0
"""Seconds between words to a spot instance: its answer may be that it will be taken away in two minutes."""
WORD_LIMIT = 30.0
MOVE_EVERY = 300.0

LEAST = 600.0
"""Seconds that a moved deadline lies ahead at least: a driver may be gone for a moment."""


async def start_watch(ctx: Context, agent: Agent) -> None:
    """Start the watch on the instance, or give the one that runs there new orders. Raises RemoteError."""
    rental = ctx.rental
    deadline = rental.deadline if rental else None
    said = promises.said(ctx, ctx.provider, deadline)
    order = await _order(ctx)
    if order is None:
        _remember(ctx, said, watched=False)
        return
    order["left"] = None if deadline is None else max(0.0, deadline - ctx.clock())
    answer = await agent.ask("lease", input=json.dumps(order).encode())
    if not answer["able"]:
        said = f"the watch on the instance cannot end it ({printable(answer['why'])}); {_otherwise(ctx)}"
        log.warning("%s", said)
    _remember(ctx, said, watched=True)
    log.info("the lease: %s", said)


def _remember(ctx: Context, said: str, *, watched: bool) -> None:
    ctx.store.update(ctx.id, options={**ctx.row.options, "lease": said, "watched": watched})


def _otherwise(ctx: Context) -> str:
    return f"only `gpusess terminate {ctx.row.name}` or `gpusess reap` does"


async def _order(ctx: Context) -> dict[str, Any] | None:
    """What the watch is told, its deadline left out; None where none is needed or possible."""
    abilities, wanted = ctx.provider.abilities, ctx.spec.resources
    order: dict[str, Any] = {"seconds": wanted.lease, "env": {}, "command": ""}
    order["notices"] = abilities.metadata_notice and bool((ctx.row.offer or {}).get("spot"))
    if not abilities.rents:
        return None
    if abilities.lease_end is LeaseEnd.SHUTDOWN:
        return {**order, "how": "shutdown"}
    by_key = abilities.lease_end is LeaseEnd.INSTANCE_KEY or wanted.lease_key == "agent"
    if not by_key or not isinstance(ctx.provider, EndsItself):
        return None
    instance = await presence.look(ctx)
    if instance is None:
        return None
    end: EndCommand = ctx.provider.end_command(instance)
    secrets = {name: value.get_secret_value() for name, value in end.secrets.items()}
    return {**order, "how": "command", "command": end.command, "env": secrets}


async def keep_word(ctx: Context, link: Link, work_left: Callable[[], float]) -> None:
    """Send words while the link lives, read notices, and move a deadline that can be moved. Never returns.

    work_left: how many seconds the runs are still expected to take.
    """
    moved = ctx.clock()
    while True:
        spot = bool((ctx.row.offer or {}).get("spot"))
        await asyncio.sleep(min(SPOT_EVERY if spot else WORD_EVERY, ctx.spec.resources.lease / 4))
        connection = link.live
        if connection is None:
            continue
        if ctx.row.options.get("watched"):
            await _word(ctx, connection)
        if ctx.clock() - moved >= min(MOVE_EVERY, ctx.spec.resources.lease / 4):
            moved = ctx.clock()
            await _move_deadline(ctx, work_left())


async def _word(ctx: Context, connection: Connection) -> None:
    try:
        answer = await connection.run(WORD, timeout=WORD_LIMIT)
    except GpusessError as exc:
        log.info("no word to the watch: %s", exc.message)
        return
    if answer.stdout.strip() and not ctx.row.options.get("notice"):
        notice = _notice(answer.stdout)
        log.warning("%s takes the instance away: %s", ctx.provider.name, notice)
        ctx.store.update(ctx.id, options={**ctx.row.options, "notice": notice})
        ctx.say(f"{ctx.provider.name} takes the instance away: {notice}")


def _notice(answer: bytes) -> str:
    try:
        said = json.loads(answer)
        return printable(f"{said.get('action', 'it ends')} at {said.get('time', 'any moment')}", 100)
    except (ValueError, AttributeError):
        return "at any moment"


async def _move_deadline(ctx: Context, work_left: float) -> None:
    """A run that works must not be ended because a laptop was closed: its expected time comes on top."""
    rental = ctx.rental
    if rental is None or rental.instance_id is None or not isinstance(ctx.provider, MovesDeadline):
        return
    soon = ctx.clock() + max(ctx.spec.resources.lease, LEAST) + work_left
    deadline = soon if rental.deadline is None else min(soon, rental.deadline)
    try:
        await ctx.provider.move_deadline(rental.instance_id, deadline)
    except ProviderError as exc:
        log.warning("%s did not move its deadline: %s", ctx.provider.name, exc.message)
