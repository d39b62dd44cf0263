"""Holding what the providers list against the ledger: which of their instances are ours, and nobody knows
here.

An unknown instance is shown and never ended on its own: it may be another laptop's. Only after it was
adopted, which is a user's explicit wish, does the ledger hold it, and only then can it be given back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gpusess.errors import SessionError
from gpusess.providers.base import Instance, InstanceStatus
from gpusess.sessions import tags
from gpusess.sessions.ledger import Ledger, Rental, Sighting

_OVER = (InstanceStatus.TERMINATED, InstanceStatus.TERMINATING)


@dataclass(frozen=True, slots=True)
class Stranger:
    """An instance that bears our tag, lives, and that the ledger does not hold as living."""

    provider: str
    account: str
    instance: Instance
    at: float
    """When it was listed."""
    rental: Rental | None
    """The ledger's line that says that it has ended, or that it never was; None: there is no line."""
    elsewhere: bool
    """Another laptop's tag is on it."""

    @property
    def what(self) -> str:
        """Why it is shown, in one sentence."""
        if self.rental is not None:
            return "lives although the ledger says that it has ended"
        return "was launched by gpusess on another laptop" if self.elsewhere else "is in no ledger here"


def strangers(ledger: Ledger, sightings: Iterable[Sighting] | None = None) -> list[Stranger]:
    """The living instances with our tag that the ledger does not hold as living, ignored ones left out."""
    rentals = ledger.rentals()
    by_name = {(rental.provider, rental.name): rental for rental in rentals}
    by_id = {(rental.provider, rental.instance_id): rental for rental in rentals if rental.instance_id}
    ignored = ledger.ignored()
    host = tags.laptop_id()
    found = []
    for sighting in ledger.sightings() if sightings is None else sightings:
        for instance in sighting.instances:
            if instance.status in _OVER or (sighting.provider, instance.id) in ignored:
                continue
            where = sighting.provider
            rental = by_name.get((where, instance.name)) or by_id.get((where, instance.id))
            if rental is None and not tags.is_ours(instance):
                continue
            # What has ended since the look is no contradiction.
            if rental is not None and (rental.bills or (rental.ended or 0.0) >= sighting.at):
                continue
            elsewhere = tags.host_of(instance) not in ("", host)
            found.append(
                Stranger(sighting.provider, sighting.account, instance, sighting.at, rental, elsewhere)
            )
    return found


def find(ledger: Ledger, instance_id: str) -> Stranger:
    """The unknown instance with that id or name. Raises SessionError."""
    found = [s for s in strangers(ledger) if instance_id in (s.instance.id, s.instance.name)]
    if len(found) != 1:
        several = f": {', '.join(f'{s.provider} {s.instance.id}' for s in found)}" if found else ""
        subject = "several unknown instances are" if found else "no unknown instance is"
        raise SessionError(f"{subject} '{instance_id}'{several}", "`gpusess instances` lists them")
    return found[0]
