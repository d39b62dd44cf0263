"""Asking the providers what they list, and taking an unknown instance into the ledger. Which of the listed
ones are unknown is `strangers.py`'s.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable

from gpusess.errors import AuthRefused, GpusessError, ProviderError
from gpusess.providers import PROVIDERS, open_provider
from gpusess.providers.base import Provider
from gpusess.sessions import tags
from gpusess.sessions.context import ADOPTED
from gpusess.sessions.ledger import Rental, Sighting
from gpusess.sessions.states import State
from gpusess.sessions.store import Store
from gpusess.sessions.strangers import Stranger

LOOK_LIMIT = 60.0


def configured(names: Iterable[str] | None = None) -> dict[str, Provider]:
    """The providers for which there is a key, opened. The caller closes them."""
    found = {}
    for name in PROVIDERS if names is None else names:
        try:
            found[name] = open_provider(name)
        except AuthRefused:
            if names is not None:
                raise
        except GpusessError:
            if names is not None:
                raise
    return found


async def look_around(store: Store, names: Iterable[str] | None = None) -> list[Sighting]:
    """Ask all configured providers (or these) at once what they list, and write it down.

    One that does not answer keeps what it said before, with the error.
    """
    providers = configured(names)
    try:
        await asyncio.gather(*(look(store, provider) for provider in providers.values()))
    finally:
        for provider in providers.values():
            await provider.close()
    asked = {(name, provider.account) for name, provider in providers.items()}
    return [s for s in store.ledger.sightings() if (s.provider, s.account) in asked]


async def look(store: Store, provider: Provider, clock: Callable[[], float] = time.time) -> None:
    """Ask one provider what it lists, and write it down: the answer, or that there was none."""
    try:
        async with asyncio.timeout(LOOK_LIMIT):
            listed = await provider.list()
    except TimeoutError:
        error = f"no answer within {LOOK_LIMIT:.0f} s"
        store.ledger.missed(provider.name, provider.account, clock(), error)
    except ProviderError as exc:
        store.ledger.missed(provider.name, provider.account, clock(), exc.message)
    else:
        store.ledger.saw(provider.name, provider.account, clock(), listed)


def adopt(store: Store, stranger: Stranger, name: str, clock: Callable[[], float] = time.time) -> str:
    """Take an unknown instance into the ledger, as a session of its own; the session's id.

    name: a free name for the session. It bills, and `gpusess terminate` gives it back.
    """
    instance, session_id = stranger.instance, secrets.token_hex(4)
    with store.together():
        store.add_session(
            id=session_id,
            name=name,
            job=ADOPTED,
            provider=stranger.provider,
            spec="",
            spec_path="",
            options={},
            runs=[],
        )
        asked = stranger.rental.asked if stranger.rental else instance.created or clock()
        offer = {"name": instance.type, "region": instance.region, "gpu": "", "gpus": 0}
        if stranger.rental:
            launch_name = stranger.rental.name
            offer = stranger.rental.offer or offer
            store.ledger.change(
                launch_name,
                session=session_id,
                instance_id=instance.id,
                ended=None,
                seen=asked,
                outcome="adopted",
            )
        else:
            launch_name = instance.name
            if not launch_name or store.ledger.rental(launch_name):  # a name is one cloud's own affair
                launch_name = f"{stranger.provider}-{instance.id}"
            rental = Rental(
                launch_name, session_id, stranger.provider, stranger.account, asked, instance.price, offer
            )
            rental.instance_id, rental.seen, rental.outcome = instance.id, clock(), "adopted"
            rental.deadline = tags.deadline_of(instance)
            store.ledger.add(rental)
        store.move(
            session_id,
            State.FAILED,
            "adopted; it bills",
            launch_name=launch_name,
            instance_id=instance.id,
            price=instance.price,
            launched=asked,
            offer=offer,
            error=f"instance {instance.id} was adopted: it {stranger.what}",
            hint=f"`gpusess terminate {name}` gives it back",
        )
    return session_id
