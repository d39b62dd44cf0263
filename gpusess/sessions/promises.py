"""What ends an instance when nobody drives its session: said at launch, in the summary and in the wizard."""

from __future__ import annotations

import time

from gpusess.providers.base import Abilities, LeaseEnd, MovesDeadline, Provider
from gpusess.sessions.context import Context
from gpusess.spec.models import Resources


def promise(
    provider: str, abilities: Abilities, wanted: Resources, deadline: float | None, *, moves: bool = False
) -> str:
    """What ends the instance when nobody drives it, in one sentence; empty where nothing bills.

    moves: the provider's deadline can be moved (`MovesDeadline`).
    """
    if not abilities.rents:
        return ""
    idle = f"after {_duration(wanted.lease)} without a word or a working run"
    end = f"at the latest at {_clock(deadline)}" if deadline is not None else ""
    kind = abilities.lease_end
    if kind is LeaseEnd.PROVIDER and moves:
        latest = f", and {end}" if end else ""
        return (
            f"{provider} ends it at a time that is moved on while a driver lives: "
            f"{_duration(wanted.lease)} after the expected end of its runs{latest}"
        )
    if kind is LeaseEnd.PROVIDER:
        return f"{provider} ends it by itself {end or idle}"
    if kind in (LeaseEnd.SHUTDOWN, LeaseEnd.INSTANCE_KEY):
        return f"it ends itself {idle}{f', and {end}' if end else ''}"
    if wanted.lease_key == "agent":
        return f"the agent on it, which holds your account's key in memory, ends it {idle}"
    always_on = "`gpusess reap` on a host that is always on ends it"
    reap = (
        f"{always_on} after {_clock(deadline)}"
        if deadline is not None
        else f"with `max_hours` or `budget` it carries a deadline, after which {always_on}"
    )
    return f"nothing on {provider} ends it while this machine is off; {reap}; or `resources.lease_key: agent`"


def said(ctx: Context, provider: Provider, deadline: float | None) -> str:
    """The promise for an instance of this session."""
    moves = isinstance(provider, MovesDeadline)
    return promise(provider.name, provider.abilities, ctx.spec.resources, deadline, moves=moves)


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
