"""Giving back: the only place that calls what ends an instance, and that says that one is gone.

Only what the ledger holds as this session's is ended. "Accepted" is no end: the provider is asked again until
it lists the instance as terminated, or knows it no more after having listed it.
"""

from __future__ import annotations

from gpusess.errors import AuthRefused, ProviderError, SessionError
from gpusess.providers.base import InstanceStatus
from gpusess.sessions import presence
from gpusess.sessions.context import Context

TERMINATE_LIMIT = 15 * 60.0
ASK_AGAIN_EVERY = 10.0


async def give_back(ctx: Context) -> None:
    """Terminate what the session may have; returns when the provider says that it is gone.

    Raises SessionError, saying that it may go on billing, where it is not confirmed in time.
    """
    await _adopt_before_the_end(ctx)
    row = ctx.row
    if row.instance_id is None or row.ended is not None:
        ctx.store.update(ctx.id, ended=row.ended or (ctx.clock() if row.launched else None))
        return
    open_intent = [i for i in ctx.store.intents(ctx.id) if i.verb == "terminate" and i.settled is None]
    intent_id = (
        open_intent[-1].id
        if open_intent
        else ctx.store.add_intent(
            ctx.id, "terminate", ctx.provider.name, row.launch_name or "", row.price, ctx.provider.account
        )
    )
    await _until_gone(ctx, row.instance_id)
    ended = ctx.clock()
    with ctx.store.together():
        ctx.ledger.change(row.launch_name or "", ended=ended, outcome="ended")
        ctx.store.update(ctx.id, ended=ended)
        ctx.store.settle_intent(intent_id, "terminated", row.instance_id)


async def _adopt_before_the_end(ctx: Context) -> None:
    """A launch without an answer may have left an instance: it is to be ended too."""
    for intent in [i for i in ctx.store.intents(ctx.id) if i.verb == "launch" and i.settled is None]:
        ctx.use(intent.provider)
        found = await presence.find(ctx, ctx.provider, intent)
        if found:
            with ctx.store.together():
                ctx.ledger.change(
                    intent.launch_name, instance_id=found.id, outcome="launched", seen=ctx.clock()
                )
                ctx.store.settle_intent(intent.id, "launched", found.id)
                ctx.store.update(ctx.id, instance_id=found.id, launch_name=intent.launch_name)
        else:
            with ctx.store.together():
                ctx.ledger.change(intent.launch_name, ended=ctx.clock(), outcome="absent")
                ctx.store.settle_intent(intent.id, "absent")
                ctx.store.update(ctx.id, launched=None)


async def _until_gone(ctx: Context, instance_id: str) -> None:
    wait, poll = ctx.wait(), ctx.provider.abilities.poll_seconds
    asked: float | None = None
    while True:
        trouble = ""
        try:
            if await _is_gone(ctx, wait.slept, asked is not None):
                return
            if asked is None or wait.elapsed - asked > max(ASK_AGAIN_EVERY, 3 * poll):
                asked = wait.elapsed
                await ctx.provider.terminate(instance_id)
                continue
        except AuthRefused:
            raise
        except ProviderError as exc:
            trouble = f": {exc.message}"
        if wait.elapsed > TERMINATE_LIMIT:
            raise SessionError(
                f"{ctx.provider.name} has not confirmed the end of {instance_id} for "
                f"{wait.elapsed / 60:.0f} minutes{trouble}; it may go on billing",
                "look at the provider's console, and run `gpusess terminate` again",
            )
        if wait.elapsed > ASK_AGAIN_EVERY or trouble:
            ctx.say(f"waiting for {ctx.provider.name} to confirm the end, {wait.elapsed:.0f} s{trouble}")
        await wait.pause(poll)


async def _is_gone(ctx: Context, slept: float, asked: bool) -> bool:
    """An instance that was never listed must have been asked to end, and stay unlisted for the settle
    time.
    """
    instance = await presence.look(ctx)
    if instance is not None:
        return instance.status is InstanceStatus.TERMINATED
    return presence.was_seen(ctx) or (asked and presence.settled(ctx, slept))
