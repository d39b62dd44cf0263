"""Finding room: the spec's providers are asked for their offers, the cheapest is tried first, the next one
where there is no room, and with a limit all of it again. What one try does is `renting.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    NoCapacity,
    ProviderError,
    ProviderFault,
    QuotaExceeded,
    RateLimited,
)
from gpusess.providers.base import Offer, Provider
from gpusess.sessions import choosing
from gpusess.sessions.context import Context, log

ASK_EVERY = 30.0
"""Seconds between looks for capacity: politeness, and no cloud's stock moves faster."""
OFFERS_LIMIT = 60.0

Try = Callable[[Context, Provider, Offer], Awaitable[None]]

_NEXT = (NoCapacity, QuotaExceeded, BadRequest, RateLimited, ProviderFault)
"""What one offer's refusal leaves room for: another offer."""


async def first_that_has_room(ctx: Context, attempt: Try) -> None:
    """Launch the first offer that is not refused.

    Returns without a launch where the user asks for something else meanwhile. Raises ProviderError: the last
    refusal, or NoCapacity where nothing is offered, after the time that the spec or the user lets it wait.
    """
    wait, limit = ctx.wait(), wait_limit(ctx)
    while True:
        try:
            await _one_round(ctx, attempt)
            return
        except (NoCapacity, QuotaExceeded) as exc:
            left = limit - wait.elapsed
            if left <= 0:
                if limit:
                    message = f"{exc.message}; waited {limit / 60:.0f} minutes for {_what(ctx)}"
                    raise NoCapacity(message, exc.hint) from None
                raise
            ctx.say(
                f"waiting for {_what(ctx)}, {wait.elapsed / 60:.0f} of {limit / 60:.0f} min: {exc.message}"
            )
        poll = max(ASK_EVERY, ctx.provider.abilities.poll_seconds)
        if await _asked_within(ctx, wait.pause, min(poll, left)):
            return


def wait_limit(ctx: Context) -> float:
    """Seconds to wait for capacity: what the user said at the start, else the spec."""
    said = ctx.row.options.get("wait")
    return float(said) if said is not None else ctx.spec.resources.wait or 0.0


async def _asked_within(ctx: Context, pause: Callable[[float], Awaitable[None]], seconds: float) -> bool:
    """Whether the user has asked for something else within so many seconds."""
    while seconds > 0 and not ctx.asked():
        step = min(1.0, seconds)
        await pause(step)
        seconds -= step
    return ctx.asked()


async def _one_round(ctx: Context, attempt: Try) -> None:
    """Each fitting offer once, cheapest first. Raises the refusal to tell the user of."""
    offers = await live_offers(ctx)
    refused: list[tuple[Offer, ProviderError]] = []
    closed: set[str] = set()
    chosen = ctx.row.options.get("type")
    if chosen is not None:
        offers = [offer for offer in offers if offer.name == chosen]
    for offer in choosing.candidates(offers, ctx.spec.resources):
        if offer.provider in closed or ctx.asked():
            continue
        try:
            await attempt(ctx, ctx.provider_named(offer.provider), offer)
            return
        except AuthRefused as exc:
            closed.add(offer.provider)
            refused.append((offer, exc))
        except _NEXT as exc:
            refused.append((offer, exc))
        log.warning(
            "%s refused %s in %s: %s", offer.provider, offer.name, offer.region, refused[-1][1].message
        )
    if refused:
        raise _verdict(refused)


def _verdict(refused: list[tuple[Offer, ProviderError]]) -> ProviderError:
    """What a refused round says: no room, if that was any offer's answer; else the last refusal."""
    if len(refused) == 1:
        return refused[0][1]
    full = [(o, e) for o, e in refused if isinstance(e, NoCapacity | QuotaExceeded)]
    if not full:
        return refused[-1][1]
    names = ", ".join(f"{o.provider} {o.name} in {o.region}" for o, _ in full[:6])
    more = f" and {len(full) - 6} more" if len(full) > 6 else ""
    return NoCapacity(
        f"no room at {names}{more}", "`gpusess up --wait` waits for it; or allow more kinds in the spec"
    )


async def live_offers(ctx: Context) -> list[Offer]:
    """What the spec's providers offer now, asked at the same time.

    A provider that does not answer is left out with a line in the log; raises its error where none answers.
    """
    names = ctx.spec.resources.provider
    answers = await asyncio.gather(*(_offers_of(ctx, name) for name in names))
    failed = [answer for answer in answers if isinstance(answer, ProviderError)]
    for exc in failed:
        log.warning("no offers: %s", exc.message)
    if len(failed) == len(names):
        raise failed[0]
    return [offer for answer in answers if not isinstance(answer, ProviderError) for offer in answer]


async def _offers_of(ctx: Context, name: str) -> list[Offer] | ProviderError:
    try:
        async with asyncio.timeout(OFFERS_LIMIT):
            return await ctx.provider_named(name).offers()
    except TimeoutError:
        return ProviderFault(f"{name} did not say within {OFFERS_LIMIT:.0f} s what it offers", "try again")
    except ProviderError as exc:
        return exc


def _what(ctx: Context) -> str:
    wanted = ctx.spec.resources
    price = f" at ${wanted.max_price:.2f}/h or less" if wanted.max_price is not None else ""
    return f"{choosing.what(wanted)} at {', '.join(wanted.provider)}{price}"
