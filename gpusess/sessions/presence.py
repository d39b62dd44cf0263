"""Whether an instance is there: what a provider's answers prove, and what they do not.

Silence proves nothing, and neither does the list of another account. An instance that was never listed may
still appear; one that was listed and is listed no more is gone only if the provider also says so when asked
for it.
"""

from __future__ import annotations

from gpusess.errors import AuthRefused, BadRequest, ProviderError, SessionError
from gpusess.providers.base import Instance, InstanceStatus, Provider
from gpusess.sessions.context import Context, log
from gpusess.sessions.ledger import Rental
from gpusess.sessions.store import Intent

FIND_LIMIT = 20 * 60.0
LOOKS = 2
"""Lists in a row without an instance, at least, before its absence counts."""


def check_account(provider: Provider, account: str, what: str) -> None:
    """Raise SessionError where another key is in use than at the launch: nothing can be concluded then."""
    if account and provider.account != account:
        raise SessionError(
            f"{what} was launched with another key of {provider.name} than the one in use now",
            "give the key that it was launched with, then `gpusess resume` or `gpusess terminate`",
        )


async def look(ctx: Context) -> Instance | None:
    """The session's instance as the provider sees it now. None: it is not listed.

    For an instance that was never listed that proves nothing: see `Unseen`. Raises ProviderError,
    SessionError.
    """
    row, rental = ctx.row, ctx.rental
    if row.instance_id is None:
        return None
    if rental:
        check_account(ctx.provider, rental.account, f"the instance {row.instance_id}")
    found = await ctx.provider.get(row.instance_id)
    if found is None:
        # A single answer may be wrong: it is held against the list, which fails rather than being empty.
        listed = await ctx.provider.list()
        found = next((i for i in listed if i.id == row.instance_id), None)
    if found and rental and rental.seen is None:
        ctx.ledger.change(rental.name, seen=ctx.clock())
    return found


def was_seen(ctx: Context) -> bool:
    """Whether the provider has ever listed the session's instance."""
    rental = ctx.rental
    return rental is not None and rental.seen is not None


async def find(ctx: Context, provider: Provider, intent: Intent) -> Instance | None:
    """The instance that a launch without an answer left; None only when it is proved that there is none.

    The whole settle time is watched here, however long ago the launch was: a laptop that has slept has
    seen nothing. Raises SessionError where that cannot be found out.
    """
    check_account(provider, intent.account, f"the launch of {intent.launch_name}")
    wait, looks = ctx.wait(), 0
    settle = provider.abilities.settle_seconds
    trouble = ""
    while True:
        try:
            named = [i for i in await provider.list() if i.name == intent.launch_name]
            if named:
                alive = [i for i in named if i.status is not InstanceStatus.TERMINATED]
                return alive[0] if alive else None
            looks += 1
            trouble = ""
        except (AuthRefused, BadRequest):
            raise
        except ProviderError as exc:
            trouble = f" ({exc.message})"
            log.warning("cannot see whether the launch left an instance: %s", exc.message)
        left = settle - wait.slept
        if looks and left <= 0 and (looks >= LOOKS or settle == 0):
            return None
        if wait.elapsed > FIND_LIMIT + settle:
            raise SessionError(
                f"{provider.name} does not say whether the launch of {intent.launch_name} left an instance"
                f"{trouble}; it may bill",
                "`gpusess resume` looks again; `gpusess terminate` looks and ends what it finds",
            )
        ctx.say(
            f"a launch had no answer; looking for {max(left, 0):.0f} s more that it left no instance{trouble}"
        )
        await wait.pause(_pause(provider, left))


def _pause(provider: Provider, left: float) -> float:
    """As often as the provider lets itself be asked; within a short settle time several times."""
    return max(provider.abilities.poll_seconds, min(5.0, left / LOOKS), 0.05)


def settled(ctx: Context, slept: float) -> bool:
    """Whether an unlisted instance of the session counts as gone, after so many seconds of looking."""
    return was_seen(ctx) or slept >= ctx.provider.abilities.settle_seconds


def describe(rental: Rental) -> str:
    """`gpu_1x_h100 in us-east-1 at $2.49/h`."""
    offer = rental.offer
    spot = " (spot)" if offer.get("spot") else ""
    return f"{offer.get('name', 'an instance')} in {offer.get('region', '?')}{spot} at ${rental.price:.2f}/h"
