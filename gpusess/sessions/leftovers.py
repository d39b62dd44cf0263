"""What goes on billing beside instances: volumes, file systems and the like, where a provider says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gpusess.errors import ProviderError
from gpusess.providers.base import HasLeftovers, Leftover, Provider
from gpusess.sessions import reconcile

LOOK_LIMIT = 45.0


@dataclass(slots=True)
class Found:
    """One provider's answer."""

    provider: str
    items: list[Leftover] = field(default_factory=list)
    error: str = ""


async def look_for() -> list[Found]:
    """Ask all configured providers that have such things, at once."""
    providers = reconcile.configured()
    try:
        asked = [p for p in providers.values() if isinstance(p, HasLeftovers)]
        return list(await asyncio.gather(*(_ask(provider) for provider in asked)))
    finally:
        for provider in providers.values():
            await provider.close()


async def _ask(provider: Provider) -> Found:
    assert isinstance(provider, HasLeftovers)
    try:
        async with asyncio.timeout(LOOK_LIMIT):
            return Found(provider.name, await provider.leftovers())
    except TimeoutError:
        return Found(provider.name, error=f"no answer within {LOOK_LIMIT:.0f} s about what else bills")
    except ProviderError as exc:
        return Found(provider.name, error=exc.message)


def sentence(item: Leftover) -> str:
    """`file system data (200 GiB in us-east-1) bills $0.06/h`."""
    price = f"bills ${item.price:.4f}/h" if item.price is not None else "bills; its price is not given"
    return f"{item.kind} {item.name or item.id} ({item.size_gib:.0f} GiB in {item.region}) {price}"
