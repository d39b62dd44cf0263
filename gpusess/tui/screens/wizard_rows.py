"""The rows of the wizard's steps, and how the limits of its review are stepped through. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpusess.tui import fmt
from gpusess.tui.spans import Line, width
from gpusess.tui.widgets.row_table import Column, RowGetter

if TYPE_CHECKING:
    from gpusess.providers.base import Offer
    from gpusess.sessions.offers import Answer
    from gpusess.sessions.wizard import Guard, Job

Place = tuple[str, str, str, bool]

JOB_COLUMNS = (
    Column("JOB", 12, 30, 0),
    Column("GPU", 10, 24, 1),
    Column("PROVIDER", 8, 20, 3),
    Column("RUNS", 10, 30, 2),
    Column("SPEC", 14, 60, 4, stretch=True),
)
OFFER_COLUMNS = (
    Column("$/H", 7, 7, 0, "right"),
    Column("GPU", 14, 26, 0),
    Column("VRAM", 5, 6, 4, "right"),
    Column("NOW", 4, 4, 0),
    Column("PROVIDER", 9, 12, 1),
    Column("REGION", 9, 16, 2),
    Column("TYPE", 10, 28, 5, stretch=True),
    Column("AGE", 6, 7, 3, "right"),
)
GUARD_COLUMNS = (
    Column("LIMIT", 16, 20, 0),
    Column("", 18, 24, 0),
    Column("WHAT IT DOES", 20, 80, 1, stretch=True),
)

_MEASURED = 60
"""Rows whose cells decide how wide a column may grow."""
_NONE = "none"
_CHOICES: dict[str, tuple[float | None, ...]] = {
    "budget": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, None),
    "max_hours": (1, 2, 4, 8, 12, 24, 48, 96, None),
    "lease": (600, 1800, 3600, 7200, 14400),
    "wait": (None, 1800, 7200, 28800, 86400),
}
_ROWS = tuple(_CHOICES)


def place_of(offer: Offer) -> Place:
    """What stays the same when the price of an offer changes."""
    return offer.provider, offer.name, offer.region, offer.spot


def measured(columns: Sequence[Column], count: int, rows: RowGetter) -> list[Column]:
    """Columns that grow no wider than what they hold."""
    cells = [rows(i) for i in range(min(count, _MEASURED))]
    wide = [max((width(row[i]) for row in cells), default=0) for i in range(len(columns))]
    both = zip(columns, wide, strict=True)
    return [c if c.stretch else replace(c, most=max(c.least, min(c.most, w))) for c, w in both]


def job_cells(job: Job) -> list[Line]:
    if job.error:
        return [[(job.name, "dim")], [], [], [], [(job.error, "err")]]
    return [
        [(job.name, "bold")],
        [(job.wants, "")],
        [(", ".join(job.providers), "")],
        [(job.runs, "")],
        [(near(job.path), "dim")],
    ]


def offer_cells(offer: Offer, answer: Answer, now: float) -> list[Line]:
    ink = "" if offer.available else "dim"
    price = f"{offer.price:.2f}"
    gpu = f"{offer.gpus}×{offer.gpu}" if offer.gpus else "cpu"
    vram = f"{offer.gpu_memory_gib:.0f} G" if offer.gpu_memory_gib else fmt.NONE
    age = now - answer.at
    as_of = "now" if age < 60 else fmt.age(age)
    return [
        [(price, "bold" if offer.available else "dim")],
        [(gpu, ink), (" spot" if offer.spot else "", "warn")],
        [(vram, "dim")],
        [("yes", "ok") if offer.available else ("no", "dim")],
        [(offer.provider, ink)],
        [(offer.region, ink)],
        [(offer.name, "dim")],
        [(as_of, "warn" if answer.error else "dim")],
    ]


def near(path: Path) -> str:
    """A file as it is called from here, or from the home folder."""
    for base, sign in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(base):
            return f"{sign}{path.relative_to(base)}"
    return str(path)


def guard_of(job: Job) -> Guard:
    """The limits that the spec says."""
    from gpusess.sessions.wizard import Guard

    return Guard(job.budget, job.max_hours, job.lease)


def guard_cells(guard: Guard, price: float) -> list[list[Line]]:
    """A row for each limit, and the button."""
    values = [
        (fmt.money(guard.budget) if guard.budget is not None else _NONE, "Budget", "ends it, results first"),
        (
            f"{guard.max_hours:g} h" if guard.max_hours is not None else _NONE,
            "Time",
            "ends it, results first",
        ),
        (f"{guard.lease / 60:g} min", "Lease", "without a word or a working run"),
        (f"{guard.wait / 3600:g} h" if guard.wait else "no", "Wait for room", "asks every half minute"),
    ]
    rows: list[list[Line]] = []
    for value, name, what in values:
        ink = "warn" if value == _NONE else ""
        rows.append([[(name, "bold")], [("◂ ", "dim"), (value, ink), (" ▸", "dim")], [(what, "dim")]])
    button = f" Launch: {fmt.money(price)}/h "
    rows.append([[("", "")], [(button, "bold reverse")], [("enter rents it", "dim")]])
    return rows


def adjusted(guard: Guard, row: int, step: int) -> Guard:
    """The limits with that row's one step further; what the spec says is among the steps."""
    if row >= len(_ROWS):
        return guard
    name = _ROWS[row]
    now: float | None = getattr(guard, name)
    choices = list(_CHOICES[name])
    if now not in choices:
        choices.append(now)
    unlimited = float("inf") if choices[0] is not None else -1.0
    choices.sort(key=lambda value: unlimited if value is None else float(value))
    at = min(max(0, choices.index(now) + step), len(choices) - 1)
    changes: dict[str, Any] = {name: choices[at]}
    return replace(guard, **changes)
