"""Renting and giving back: the only place that calls what costs money or ends it.

The intent is durable before each call. After a crash the provider's list is held against the intents: an
instance with the intent's name is adopted, and nothing is launched a second time before that look.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from pathlib import Path

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    NoCapacity,
    ProviderError,
    ProviderFault,
    QuotaExceeded,
    RateLimited,
    SessionError,
)
from gpusess.providers.base import Instance, InstanceStatus, LaunchRequest, Offer
from gpusess.remote.keys import mint_keypair
from gpusess.sessions import money
from gpusess.sessions.context import Context, log
from gpusess.sessions.states import State
from gpusess.sessions.store import Intent
from gpusess.spec import Spec

BOOT_LIMIT = 30 * 60.0
TERMINATE_LIMIT = 15 * 60.0
POLL_EVERY = 0.3
ASK_AGAIN_EVERY = 10.0

_REFUSALS = (NoCapacity, QuotaExceeded, AuthRefused, BadRequest, RateLimited)
"""Answers that say for certain that nothing was launched."""


def choose_offer(offers: list[Offer], spec: Spec) -> Offer:
    """The cheapest available offer that the spec allows. Raises NoCapacity, saying what was in the way."""
    wanted = spec.resources
    fitting = [o for o in offers if _fits(o, spec)]
    if not fitting:
        raise NoCapacity(
            f"{wanted.provider} has no offer for {wanted.gpu or 'a CPU instance'}"
            f"{f' in {wanted.region}' if wanted.region else ''}",
            "change `resources.gpu` or `resources.region` in the spec",
        )
    cheap = [o for o in fitting if wanted.max_price is None or o.price <= wanted.max_price]
    if not cheap:
        raise NoCapacity(
            f"the cheapest offer costs ${min(o.price for o in fitting):.2f}/h, more than max_price"
            f" ${wanted.max_price:.2f}/h",
            "raise `resources.max_price`",
        )
    ready = [o for o in cheap if o.available]
    if not ready:
        raise NoCapacity(f"nothing is available now of {', '.join(o.name for o in cheap)}", "try again later")
    return min(ready, key=lambda o: (o.price, o.name))


def _fits(offer: Offer, spec: Spec) -> bool:
    wanted = spec.resources
    if wanted.region not in (None, "any", offer.region):
        return False
    if wanted.gpu_model is None:
        return True
    return wanted.gpu_model.lower() in offer.gpu.lower() and offer.gpus == wanted.gpu_count


# --- launch ---


async def launch(ctx: Context) -> None:
    """From `requested` or `launching` to `booting`: at most one instance is ever launched for one intent."""
    intent = _open_intent(ctx, "launch")
    if intent:
        found = await _find(ctx, intent)
        if found:
            _launched(ctx, intent.id, found)
            return
        ctx.store.settle_intent(intent.id, "absent")
        log.warning("the launch of %s left no instance; launching again", intent.launch_name)
    offer = choose_offer(await ctx.provider.offers(), ctx.spec)
    number = sum(i.verb == "launch" for i in ctx.store.intents(ctx.id)) + 1
    name = f"gpusess-{ctx.id}-{number}"
    request = _request(ctx, name, offer)
    intent_id = ctx.store.add_intent(ctx.id, "launch", ctx.provider.name, name, offer.price)
    ctx.move(
        State.LAUNCHING,
        f"{offer.name} in {offer.region} at ${offer.price:.2f}/h",
        launch_name=name,
        instance_id=None,
        endpoint=None,
        offer=asdict(offer),
        price=offer.price,
        launched=ctx.clock(),
        ended=None,
        error="",
        hint="",
    )
    try:
        instance = await ctx.provider.launch(request)
    except _REFUSALS as exc:
        _nothing_launched(ctx, intent_id, exc.message)
        raise
    except ProviderError as exc:
        found = await _find(ctx, _open_intent(ctx, "launch"))
        if not found:
            _nothing_launched(ctx, intent_id, exc.message)
            raise
        instance = found
    _launched(ctx, intent_id, instance)


def _open_intent(ctx: Context, verb: str) -> Intent | None:
    waiting = [i for i in ctx.store.intents(ctx.id) if i.verb == verb and i.settled is None]
    return waiting[-1] if waiting else None


async def _find(ctx: Context, intent: Intent | None) -> Instance | None:
    """The instance with the intent's name. Absence counts only after the provider's settle time."""
    if intent is None:
        return None
    while True:
        for instance in await ctx.provider.list():
            if instance.name == intent.launch_name and instance.status is not InstanceStatus.TERMINATED:
                return instance
        left = intent.at + ctx.provider.abilities.settle_seconds - ctx.clock()
        if left <= 0:
            return None
        ctx.say(f"a launch had no answer; waiting {left:.0f} s more to be sure that it left no instance")
        await ctx.sleep(min(left, 5.0))


def _request(ctx: Context, name: str, offer: Offer) -> LaunchRequest:
    """Keys are minted for this launch; the private host key goes to this one instance only."""
    client_public = client_key(ctx)
    host_private, host_public = mint_keypair(name)
    (ctx.folder / "host_key.pub").write_text(host_public + "\n")
    return LaunchRequest(
        name=name,
        offer=offer,
        client_public_key=client_public,
        host_private_key=host_private,
        host_public_key=host_public,
        tags={"gpusess": ctx.id},
        lease_seconds=ctx.spec.resources.lease,
        options=ctx.spec.resources.options,
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


def _nothing_launched(ctx: Context, intent_id: int, why: str) -> None:
    ctx.store.settle_intent(intent_id, f"refused: {why}")
    ctx.store.update(ctx.id, launched=None)


def _launched(ctx: Context, intent_id: int, instance: Instance) -> None:
    ctx.store.settle_intent(intent_id, "launched", instance.id)
    ctx.move(State.BOOTING, f"instance {instance.id}", instance_id=instance.id)


async def boot(ctx: Context) -> None:
    """Wait until the provider says that the instance runs and where its SSH server is."""
    since = ctx.row.since
    while True:
        instance = await look(ctx)
        if instance is None or instance.status in (InstanceStatus.FAILED, InstanceStatus.TERMINATED):
            raise ProviderFault(
                f"the instance did not start: {instance.reason if instance else 'the provider has lost it'}",
                "`gpusess resume` launches another one",
            )
        if instance.status is InstanceStatus.RUNNING and instance.endpoint:
            ctx.move(State.CONNECTING, endpoint=asdict(instance.endpoint))
            return
        if ctx.clock() - since > BOOT_LIMIT:
            raise ProviderFault(
                f"the instance still boots after {BOOT_LIMIT / 60:.0f} minutes, and it bills",
                "`gpusess terminate` gives it back; `gpusess resume` goes on waiting",
            )
        await ctx.sleep(POLL_EVERY)


async def look(ctx: Context) -> Instance | None:
    """The session's instance as the provider sees it now."""
    instance_id = ctx.row.instance_id
    return await ctx.provider.get(instance_id) if instance_id else None


# --- giving back ---


async def give_back(ctx: Context) -> None:
    """Terminate the instance; returns when the provider says that it is gone. State: `terminating`."""
    row = ctx.row
    if row.instance_id is None:
        await _adopt_before_the_end(ctx)
        row = ctx.row
    if row.instance_id is None or row.ended is not None:
        ctx.store.update(ctx.id, ended=row.ended or (ctx.clock() if row.launched else None))
        return
    intent = _open_intent(ctx, "terminate")
    intent_id = (
        intent.id
        if intent
        else ctx.store.add_intent(ctx.id, "terminate", row.provider, row.launch_name or "", row.price)
    )
    await _until_gone(ctx, row.instance_id)
    ctx.store.update(ctx.id, ended=ctx.clock())
    ctx.store.settle_intent(intent_id, "terminated", row.instance_id)


async def _adopt_before_the_end(ctx: Context) -> None:
    """A launch without an answer may have left an instance: it is to be ended too."""
    intent = _open_intent(ctx, "launch")
    found = await _find(ctx, intent)
    if intent and found:
        ctx.store.settle_intent(intent.id, "launched", found.id)
        ctx.store.update(ctx.id, instance_id=found.id)
    elif intent:
        _nothing_launched(ctx, intent.id, "absent")


async def _until_gone(ctx: Context, instance_id: str) -> None:
    started = ctx.clock()
    asked: float | None = None
    while True:
        trouble = ""
        try:
            instance = await ctx.provider.get(instance_id)
            if instance is None or instance.status is InstanceStatus.TERMINATED:
                return
            if asked is None or ctx.clock() - asked > ASK_AGAIN_EVERY:
                asked = ctx.clock()
                await ctx.provider.terminate(instance_id)
                continue
        except (ProviderFault, RateLimited) as exc:
            trouble = f": {exc.message}"
        waited = ctx.clock() - started
        if waited > TERMINATE_LIMIT:
            raise SessionError(
                f"{ctx.provider.name} has not confirmed the end of {instance_id} for "
                f"{waited / 60:.0f} minutes{trouble}; it may go on billing",
                "look at the provider's console, and run `gpusess terminate` again",
            )
        if waited > ASK_AGAIN_EVERY:
            ctx.say(f"waiting for {ctx.provider.name} to confirm the end, {waited:.0f} s{trouble}")
        await ctx.sleep(POLL_EVERY)


async def revive(ctx: Context) -> None:
    """On resume: go on with the instance if it is there, else give it back for good and launch another."""
    row = ctx.row
    if _open_intent(ctx, "launch"):
        await launch(ctx)
        return
    instance = await look(ctx) if row.ended is None else None
    if instance and instance.status in (InstanceStatus.RUNNING, InstanceStatus.BOOTING):
        ctx.move(State.BOOTING, "found again", error="", hint="")
        return
    if row.launched is not None and row.ended is None:
        await give_back(ctx)
        row = ctx.row
    ctx.store.update(
        ctx.id, spent_before=money.spent(row, ctx.clock()), launched=None, ended=None, instance_id=None
    )
    await launch(ctx)
