"""What was spent, summed up by session, provider, day or instance, and what it will come to: for `gpusess
cost` and the cockpit. Pure functions over the board's snapshot; what an instance's time costs is money.py's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from gpusess.providers.base import InstanceStatus
from gpusess.sessions import money
from gpusess.sessions.board import FleetView, SessionView, midnight
from gpusess.sessions.ledger import Rental, Sighting

By = Literal["session", "day", "provider", "instance"]


@dataclass(slots=True)
class Sum:
    """US dollars, and dollars an hour now; `instances` counts every one that existed."""

    name: str
    spent: float = 0.0
    burn: float = 0.0
    instances: int = 0
    session: str = ""
    """The session's id, of the sums by session."""


def sums(fleet: FleetView, by: By, since: float = 0.0) -> list[Sum]:
    """What was spent from a moment on (seconds since the epoch): days in order, else the dearest first."""
    found: dict[str, Sum] = {}
    for view in fleet.sessions:
        for rental in view.rentals:
            for key, spent in _parts(view, rental, by, fleet.now, since).items():
                row = found.setdefault(key, Sum(key, session=view.row.id if by == "session" else ""))
                row.spent += spent
                row.instances += rental.existed
            if by != "day" and rental.bills:
                found[_key(view, rental, by)].burn += rental.price
    rows = list(found.values())
    return sorted(rows, key=lambda row: row.name) if by == "day" else sorted(rows, key=lambda r: -r.spent)


def _parts(view: SessionView, rental: Rental, by: By, now: float, since: float) -> dict[str, float]:
    if by != "day":
        return {_key(view, rental, by): money.cost(rental, now, since)}
    days = money.by_day(rental, now)
    return {day: spent for day, spent in days.items() if day_start(day) >= since}


def _key(view: SessionView, rental: Rental, by: By) -> str:
    return {"session": view.row.name, "provider": rental.provider, "instance": rental.name}[by]


def day_start(day: str) -> float:
    """The local midnight that begins a day like `2026-11-21`."""
    return time.mktime(time.strptime(day, "%Y-%m-%d"))


def days_back(now: float, days: int) -> float:
    """The local midnight that begins the first of the last `days` days, today being one of them."""
    start = midnight(now)
    for _ in range(days - 1):
        start = midnight(start - 1)
    return start


def next_midnight(now: float) -> float:
    day = time.localtime(now)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))


def by_midnight(fleet: FleetView) -> float:
    """US dollars that today will have cost if what bills now goes on until the next local midnight."""
    return fleet.spent_today + fleet.burn * (next_midnight(fleet.now) - fleet.now) / 3600


def today(fleet: FleetView, points: int) -> list[tuple[float, float]]:
    """(seconds since local midnight, dollars spent since then) at evenly spaced moments up to now."""
    start = midnight(fleet.now)
    rentals = [r for view in fleet.sessions for r in view.rentals if r.ended is None or r.ended > start]
    length = fleet.now - start
    moments = [length * i / max(1, points - 1) for i in range(points)]
    return [(at, money.spent(rentals, fleet.now, start, start + at)) for at in moments]


def at_the_end(view: SessionView) -> float | None:
    """US dollars that the session will have cost when its present run ends; None: not known yet."""
    run = view.run
    if run is None or run.row.status != "running" or run.state.eta is None:
        return None
    return view.spent + view.row.price * run.state.eta / 3600


def spent_at(left: float, burn: float, now: float) -> float | None:
    """When `left` dollars are spent at `burn` dollars an hour, in seconds since the epoch; None: never."""
    return now + max(0.0, left) / burn * 3600 if burn > 0 else None


def per_thousand(view: SessionView) -> float | None:
    """US dollars that a thousand evaluated samples have cost, the way to them included; None: there are none.

    A session that trains buys steps, not samples: it has no such price.
    """
    if any(run.state.train for run in view.runs):
        return None
    samples = sum(run.state.done / max(1, run.state.candidates) for run in view.runs)
    return view.spent / samples * 1000 if samples else None


@dataclass(frozen=True, slots=True)
class Listed:
    """What a provider's own list said last, beside what the ledger held to be billing there then."""

    provider: str
    at: float
    """When it answered; 0: it never has."""
    error: str
    """Of the last try; empty: it was answered."""
    instances: int
    theirs: float
    """US dollars an hour, by the list; other people's instances in the same account are among them."""
    ours: float

    @property
    def differs(self) -> bool:
        """By a cent an hour or more."""
        return bool(self.at) and abs(self.theirs - self.ours) >= 0.01


def listed(fleet: FleetView) -> list[Listed]:
    """One for each account that was ever asked: the two figures should be the same."""
    return [_listed(fleet, sighting) for sighting in fleet.sightings]


def _listed(fleet: FleetView, sighting: Sighting) -> Listed:
    there = [i for i in sighting.instances if i.status is not InstanceStatus.TERMINATED]
    ours = (
        rental.price
        for view in fleet.sessions
        for rental in view.rentals
        if (rental.provider, rental.account) == (sighting.provider, sighting.account)
        and _billed(rental, sighting.at)
    )
    theirs = sum(instance.price for instance in there)
    return Listed(sighting.provider, sighting.at, sighting.error, len(there), theirs, sum(ours))


def _billed(rental: Rental, at: float) -> bool:
    return rental.existed and rental.asked <= at and (rental.ended is None or rental.ended > at)
