"""What sessions have cost and what they cost now. Pure arithmetic on the ledger's lines.

An instance counts from the moment when its launch was intended to the moment when its end was known, so the
sums are upper bounds: a provider may begin later, and may have ended it before we could look.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from gpusess.sessions.ledger import Rental
from gpusess.sessions.store import RunRow, SessionRow


def bills(rentals: Iterable[Rental]) -> bool:
    """Whether any of these instances may be billing now; a failed session's does until it is given back."""
    return any(rental.bills for rental in rentals)


def burn(rentals: Iterable[Rental]) -> float:
    """US dollars an hour, failed but still billed instances included."""
    return sum(rental.price for rental in rentals if rental.bills)


def spent(rentals: Iterable[Rental], now: float, since: float = 0.0, until: float | None = None) -> float:
    """US dollars between two moments (seconds since the epoch), or to `now`."""
    return sum(cost(rental, now, since, until) for rental in rentals)


def cost(rental: Rental, now: float, since: float = 0.0, until: float | None = None) -> float:
    """US dollars that one instance has cost between two moments, or to `now`."""
    if not rental.existed:
        return 0.0
    end = min(rental.ended if rental.ended is not None else now, now if until is None else until)
    return rental.price * max(0.0, end - max(since, rental.asked)) / 3600


def by_day(rental: Rental, now: float) -> dict[str, float]:
    """US dollars for each local day that the instance lived on, as `2026-11-21`."""
    days: dict[str, float] = {}
    end = rental.ended if rental.ended is not None else now
    start = rental.asked
    while rental.existed and start < end:
        day = time.localtime(start)
        next_day = time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))
        days[time.strftime("%Y-%m-%d", day)] = cost(rental, now, start, min(next_day, end))
        start = next_day
    return days


def run_spent(session: SessionRow, run: RunRow, now: float) -> float:
    """US dollars that the instance has cost while the run ran, at the session's present price."""
    if run.started is None:
        return 0.0
    end = run.ended if run.ended is not None else now
    return session.price * max(0.0, end - run.started) / 3600


def seconds_left(rentals: Iterable[Rental], budget: float, price: float, now: float) -> float | None:
    """Until the budget is spent at that price; None where nothing is paid, 0 where it is spent."""
    if price <= 0:
        return None
    return max(0.0, budget - spent(rentals, now)) / price * 3600
