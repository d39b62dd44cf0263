"""Renting: the only place that calls what costs money. Giving back is `giving_back.py`.

The intent and the ledger's line are durable before each call. After a crash the provider's list is held
against the intents: an instance with the intent's name is adopted, and nothing is launched a second time
before that look.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    NoCapacity,
    ProviderError,
    ProviderFault,
    QuotaExceeded,
    RateLimited,
)
from gpusess.providers.base import HostKey, Instance, InstanceStatus, LaunchRequest, Offer, Provider
from gpusess.remote.keys import mint_keypair
from gpusess.sessions import capacity, deadlines, estimates, giving_back, host_keys, presence, promises, tags
from gpusess.sessions.context import Context, log
from gpusess.sessions.ledger import Rental
from gpusess.sessions.states import State
from gpusess.sessions.store import Intent

BOOT_LIMIT = 30 * 60.0
RATE_PAUSES = (15.0, 30.0, 60.0)
"""Seconds to hold off a launch that came too soon, before it is tried again."""
_KEPT = ("wait", "budget", "max_hours", "overrides", "type", "force")
"""Of the session's options, those that do not belong to an earlier instance."""

_REFUSALS = (NoCapacity, QuotaExceeded, AuthRefused, BadRequest)
"""Answers that say for certain that nothing was launched, unless the provider says that they do not. "Too
many requests" is none: it may come from something on the way, after the launch took effect.
"""


# --- launch ---


async def launch(ctx: Context) -> None:
    """From `requested` or `launching` to `booting`: at most one instance is ever launched for one intent.

    Returns early where the user asks for something else while capacity is waited for.
    """
    if await _recover(ctx):
        return
    await capacity.first_that_has_room(ctx, _try)


async def _recover(ctx: Context) -> bool:
    """Settle what an earlier process left open; whether it had launched an instance that is taken over."""
    for intent in open_intents(ctx, "launch"):
        ctx.use(intent.provider)
        found = await presence.find(ctx, ctx.provider, intent)
        if found and _usable(found):
            _launched(ctx, intent, found)
            return True
        if found:
            await _end_remains(ctx, intent, found)
        else:
            _nothing_launched(ctx, intent, "absent")
            log.warning("the launch of %s left no instance", intent.launch_name)
    return False


async def _try(ctx: Context, provider: Provider, offer: Offer) -> None:
    """One launch of one offer, with a pause and another try where it came too soon. Raises ProviderError."""
    host_keys.check_before_launch(ctx, provider)
    for pause in (*RATE_PAUSES, None):
        try:
            await _launch_once(ctx, provider, offer)
            return
        except RateLimited as exc:
            if pause is None or ctx.asked():
                raise
            ctx.say(f"{exc.message}; trying again in {pause:.0f} s")
            await ctx.sleep(pause)


async def _launch_once(ctx: Context, provider: Provider, offer: Offer) -> None:
    ctx.use(provider.name)
    rental = _rental(ctx, provider, offer)
    request = _request(ctx, provider, rental, offer)
    intent_id = ctx.store.begin_launch(
        rental,
        presence.describe(rental),
        provider=provider.name,
        launch_name=rental.name,
        instance_id=None,
        endpoint=None,
        offer=asdict(offer),
        price=offer.price,
        launched=rental.asked,
        ended=None,
        error="",
        hint="",
        options=_options(ctx, provider, rental),
    )
    log.info("launching %s: %s", rental.name, presence.describe(rental))
    intent = next(i for i in ctx.store.intents(ctx.id) if i.id == intent_id)
    try:
        instance = await provider.launch(request)
    except ProviderError as exc:
        certain = isinstance(exc, _REFUSALS) and not provider.abilities.refusals_create
        found = None if certain else await presence.find(ctx, provider, intent)
        if found is None:
            _nothing_launched(ctx, intent, f"refused: {exc.message}")
            raise
        if isinstance(exc, _REFUSALS) or not _usable(found):
            # An error that made an instance all the same: it is not what was wanted, and it may bill.
            await _end_remains(ctx, intent, found)
            raise
        instance = found
    _launched(ctx, intent, instance)


def _options(ctx: Context, provider: Provider, rental: Rental) -> dict[str, Any]:
    """The session's options for a new instance: what belonged to an earlier one is left out."""
    kept = {name: value for name, value in ctx.row.options.items() if name in _KEPT}
    return {**kept, "lease": promises.said(ctx, provider, rental.deadline)}


def _usable(instance: Instance) -> bool:
    return instance.status in (InstanceStatus.BOOTING, InstanceStatus.RUNNING)


def open_intents(ctx: Context, verb: str) -> list[Intent]:
    """Calls whose outcome is not known, oldest first."""
    return [i for i in ctx.store.intents(ctx.id) if i.verb == verb and i.settled is None]


def _rental(ctx: Context, provider: Provider, offer: Offer) -> Rental:
    now = ctx.clock()
    number = sum(i.verb == "launch" for i in ctx.store.intents(ctx.id)) + 1
    deadline = deadlines.limit(ctx.spec.resources, ctx.ledger.rentals(ctx.id), offer.price, now)
    name = tags.launch_name(ctx.id, number, deadline)
    return Rental(name, ctx.id, provider.name, provider.account, now, offer.price, asdict(offer), deadline)


def _request(ctx: Context, provider: Provider, rental: Rental, offer: Offer) -> LaunchRequest:
    """Keys are minted for this launch; the private host key goes to this one instance only."""
    client_public = client_key(ctx)
    host_private, host_public = mint_keypair(rental.name)
    pinned = ctx.folder / host_keys.FILE
    pinned.unlink(missing_ok=True)
    if provider.abilities.host_key is HostKey.INJECTED:
        pinned.write_text(host_public + "\n")
    wanted = ctx.spec.resources
    return LaunchRequest(
        name=rental.name,
        offer=offer,
        client_public_key=client_public,
        host_private_key=host_private,
        host_public_key=host_public,
        tags=tags.launch_tags(ctx.id, rental.deadline),
        lease_seconds=wanted.lease,
        deadline=deadlines.first(provider, wanted, rental.deadline, ctx.clock()),
        options=wanted.options_for(provider.name),
    )


def client_key(ctx: Context) -> str:
    """The session's public key; its private half is minted once and stays on this disk."""
    private, public = ctx.folder / "client_key", ctx.folder / "client_key.pub"
    if not public.exists():
        pem, line = mint_keypair(f"gpusess-{ctx.id}")
        _write_private(private, pem)
        public.write_text(line + "\n")
    return public.read_text().strip()


def _write_private(path: Path, content: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(content)


def _nothing_launched(ctx: Context, intent: Intent, why: str) -> None:
    with ctx.store.together():
        ctx.ledger.change(intent.launch_name, ended=ctx.clock(), outcome=why)
        ctx.store.settle_intent(intent.id, why)
        ctx.store.update(ctx.id, launched=None)


def _launched(ctx: Context, intent: Intent, instance: Instance) -> None:
    with ctx.store.together():
        ctx.ledger.change(intent.launch_name, instance_id=instance.id, outcome="launched")
        ctx.store.settle_intent(intent.id, "launched", instance.id)
        ctx.move(State.BOOTING, f"instance {instance.id}", instance_id=instance.id)


async def _end_remains(ctx: Context, intent: Intent, instance: Instance) -> None:
    """Give back what a launch left that is of no use, before anything else is launched."""
    log.warning(
        "the launch of %s left %s (%s); giving it back", intent.launch_name, instance.id, instance.status
    )
    with ctx.store.together():
        ctx.ledger.change(intent.launch_name, instance_id=instance.id, outcome="launched", seen=ctx.clock())
        ctx.store.settle_intent(intent.id, "launched", instance.id)
        ctx.store.update(ctx.id, instance_id=instance.id)
    await giving_back.give_back(ctx)
    ctx.store.update(ctx.id, instance_id=None, launched=None, ended=None)


# --- boot ---


async def boot(ctx: Context) -> None:
    """Wait until the provider says that the instance runs and where its SSH server is."""
    wait, usual = ctx.wait(), estimates.usual_boot(ctx.store, ctx.row)
    while True:
        try:
            instance = await look(ctx)
        except (ProviderFault, RateLimited) as exc:
            trouble = f"; {exc.message}"
        else:
            trouble = ""
            _check_boot(ctx, instance, wait.slept)
            if instance and instance.status is InstanceStatus.RUNNING and instance.endpoint:
                ctx.move(State.CONNECTING, endpoint=asdict(instance.endpoint))
                return
        if wait.elapsed > BOOT_LIMIT:
            raise ProviderFault(
                f"the instance still boots after {BOOT_LIMIT / 60:.0f} minutes, and it bills{trouble}",
                "`gpusess terminate` gives it back; `gpusess resume` goes on waiting",
            )
        ctx.say(f"instance {ctx.row.instance_id}; {usual.text()}, limit {BOOT_LIMIT / 60:.0f} min{trouble}")
        await wait.pause(ctx.provider.abilities.poll_seconds)


def _check_boot(ctx: Context, instance: Instance | None, slept: float) -> None:
    """Raise ProviderFault where the instance will not come up."""
    broken = (
        InstanceStatus.FAILED,
        InstanceStatus.TERMINATED,
        InstanceStatus.PREEMPTED,
        InstanceStatus.STOPPED,
    )
    if instance is None and not presence.settled(ctx, slept):
        return
    if instance is None or instance.status in broken:
        why = (instance.reason or str(instance.status)) if instance else "the provider has lost it"
        raise ProviderFault(
            f"the instance did not start: {why}", "`gpusess resume` gives it back and launches another one"
        )


async def look(ctx: Context) -> Instance | None:
    """The session's instance as the provider sees it now."""
    return await presence.look(ctx)


async def revive(ctx: Context) -> None:
    """On resume: go on with the instance if it is there, else give it back for good and launch another."""
    if open_intents(ctx, "launch"):
        await launch(ctx)
        return
    row = ctx.row
    if row.launched is not None and row.ended is None:
        instance = await look(ctx)
        if instance and _usable(instance):
            ctx.move(State.BOOTING, "found again", error="", hint="")
            return
        await giving_back.give_back(ctx)
    ctx.store.update(ctx.id, launched=None, ended=None, instance_id=None)
    await launch(ctx)
