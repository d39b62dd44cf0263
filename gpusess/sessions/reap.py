"""Ending instances whose latest end has passed, from a host that is always on. It needs no ledger: the
deadline stands in the instance's tag or name. What bears no deadline, or none of ours, is not touched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gpusess.errors import ProviderError
from gpusess.providers.base import Instance, InstanceStatus, Provider
from gpusess.sessions import tags
from gpusess.sessions.waiting import Wait

CONFIRM_LIMIT = 15 * 60.0
ASK_AGAIN_EVERY = 15.0


@dataclass(slots=True)
class Reaped:
    """One instance past its deadline, or a provider that could not be asked (`instance` None)."""

    provider: str
    instance: Instance | None
    deadline: float
    """Seconds since the epoch."""
    outcome: str
    """ended, would end, or what went wrong."""

    @property
    def is_settled(self) -> bool:
        return self.outcome in ("ended", "would end")


def overdue(instance: Instance, now: float) -> bool:
    """Whether it is ours by name or tag, lives, and its deadline has passed."""
    deadline = tags.deadline_of(instance)
    lives = instance.status is not InstanceStatus.TERMINATED
    return tags.is_ours(instance) and lives and deadline is not None and deadline < now


async def reap(
    providers: Mapping[str, Provider],
    *,
    dry_run: bool = False,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Any] = asyncio.sleep,
) -> list[Reaped]:
    """End what is overdue at these providers, all at the same time, and see it gone."""
    found = await asyncio.gather(*(_one(p, dry_run, clock, sleep) for p in providers.values()))
    return [reaped for some in found for reaped in some]


async def _one(
    provider: Provider, dry_run: bool, clock: Callable[[], float], sleep: Callable[[float], Any]
) -> list[Reaped]:
    try:
        listed = await provider.list()
    except ProviderError as exc:
        return [Reaped(provider.name, None, 0.0, exc.message)]
    late = [
        Reaped(provider.name, instance, tags.deadline_of(instance) or 0.0, "would end")
        for instance in listed
        if overdue(instance, clock())
    ]
    if not dry_run:
        await asyncio.gather(*(_end(provider, reaped, Wait(clock, sleep)) for reaped in late))
    return late


async def _end(provider: Provider, reaped: Reaped, wait: Wait) -> None:
    """Ask until the provider says that it is gone, or the time is over."""
    assert reaped.instance is not None
    id, asked = reaped.instance.id, -ASK_AGAIN_EVERY
    trouble = ""
    while wait.elapsed < CONFIRM_LIMIT:
        try:
            if wait.elapsed - asked >= ASK_AGAIN_EVERY:
                asked = wait.elapsed
                await provider.terminate(id)
            if await _is_gone(provider, id):
                reaped.outcome = "ended"
                return
            trouble = ""
        except ProviderError as exc:
            trouble = f": {exc.message}"
        await wait.pause(provider.abilities.poll_seconds)
    reaped.outcome = f"its end was not confirmed for {CONFIRM_LIMIT / 60:.0f} minutes{trouble}"


async def _is_gone(provider: Provider, id: str) -> bool:
    """It was listed before: terminated, or unknown to both questions."""
    instance = await provider.get(id)
    if instance is None:
        instance = next((i for i in await provider.list() if i.id == id), None)
    return instance is None or instance.status is InstanceStatus.TERMINATED
