"""An instance's latest end: what the spec's limits come to, and what the launch call says of it."""

from __future__ import annotations

from collections.abc import Iterable

from gpusess.providers.base import MovesDeadline, Provider
from gpusess.sessions import money
from gpusess.sessions.ledger import Rental
from gpusess.spec.models import Resources

HOME_GRACE = 600.0
"""Seconds after max_hours or the budget's end at which the instance is ended from elsewhere: a driver that
lives has brought the results home by then."""

FIRST_HOUR = 3600.0
"""A deadline that can be moved begins no earlier: boot and setup come before the first move."""


def limit(wanted: Resources, earlier: Iterable[Rental], price: float, now: float) -> float | None:
    """The latest end (seconds since the epoch) of an instance launched now; None where the spec sets none."""
    limits = [wanted.max_hours * 3600] if wanted.max_hours is not None else []
    if wanted.budget is not None:
        left = money.seconds_left(earlier, wanted.budget, price, now)
        limits += [left] if left is not None else []
    return now + min(limits) + HOME_GRACE if limits else None


def first(provider: Provider, wanted: Resources, latest: float | None, now: float) -> float | None:
    """What the launch call says: soon, where it can be moved while somebody is there."""
    if not isinstance(provider, MovesDeadline):
        return latest
    soon = now + max(FIRST_HOUR, wanted.lease)
    return soon if latest is None else min(soon, latest)
