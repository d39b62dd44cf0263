"""`gpusess cost`: what was spent, what is being spent, and what goes on billing beside instances."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import click

from gpusess.analysis.text import clean

if TYPE_CHECKING:
    from gpusess.sessions.board import FleetView, SessionView
    from gpusess.sessions.leftovers import Found
    from gpusess.sessions.spending import By, Sum


@click.command("cost")
@click.option(
    "--by",
    type=click.Choice(["session", "day", "provider", "instance"]),
    default="session",
    show_default=True,
    help="What to sum up.",
)
@click.option("--days", type=click.IntRange(1), help="Only what was spent in the last days, today included.")
@click.option("--offline", is_flag=True, help="Do not ask the providers what else bills.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(by: By, days: int | None, offline: bool, as_json: bool) -> int:
    """Show what all sessions have cost, from the ledger of every instance that was ever launched.

    The sums are upper bounds: an instance counts from the launch call to the moment when its end was known.
    """
    from gpusess.sessions import leftovers, spending
    from gpusess.sessions.board import Board
    from gpusess.sessions.start import open_store

    fleet = Board(open_store()).refresh(budget=1 << 40)
    since = 0.0 if days is None else spending.days_back(fleet.now, days)
    rows = spending.sums(fleet, by, since)
    found = [] if offline else asyncio.run(leftovers.look_for())
    if as_json:
        click.echo(json.dumps(_facts(fleet, by, rows, found)))
        return 0
    _table(by, rows)
    for line in (*_totals(fleet), *_budgets(fleet), *_beside(found)):
        click.echo(line)
    return 0


def _table(by: str, rows: list[Sum]) -> None:
    if not rows:
        click.echo("nothing was spent")
        return
    lines = [(by.upper(), "INSTANCES", "SPENT", "$/H NOW")]
    for row in rows:
        lines.append(
            (row.name, str(row.instances), f"{row.spent:.2f}", f"{row.burn:.2f}" if row.burn else "-")
        )
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    for name, *numbers in lines:
        cells = [name.ljust(widths[0]), *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))]
        click.echo("  ".join(cells))


def _totals(fleet: FleetView) -> list[str]:
    from gpusess.config import load_settings

    total = sum(view.spent for view in fleet.sessions)
    lines = [f"burn ${fleet.burn:.2f}/h, spent today ${fleet.spent_today:.2f}, in all ${total:.2f}"]
    limit = load_settings().daily_budget
    if limit is not None:
        lines.append(
            f"today's budget ${limit:.2f}: {_when_spent(limit - fleet.spent_today, fleet.burn, fleet.now)}"
        )
    return lines


def _budgets(fleet: FleetView) -> list[str]:
    """Each session that bills and has a limit: when it comes, and what the run will have cost."""
    return [_budget(view) for view in fleet.sessions if view.bills and view.row.options.get("budget")]


def _budget(view: SessionView) -> str:
    from gpusess.sessions import spending

    budget, price = float(view.row.options["budget"]), view.row.price
    left = _when_spent(budget - view.spent, price, view.now)
    line = f"{view.row.name}: ${view.spent:.2f} of ${budget:.2f}: {left}"
    if (projected := spending.at_the_end(view)) is not None:
        fits = "within the budget" if projected <= budget else "MORE than the budget: it will be cut off"
        line += f"; the run will have cost ${projected:.2f}, {fits}"
    return line


def _when_spent(left: float, burn: float, now: float) -> str:
    from gpusess.sessions import spending

    at = spending.spent_at(left, burn, now)
    if left <= 0:
        return "spent"
    if at is None:
        return f"${left:.2f} left"
    return f"${left:.2f} left, spent {time.strftime('%a %H:%M', time.localtime(at))} at this rate"


def _beside(found: list[Found]) -> list[str]:
    """Volumes and the like that go on billing without an instance."""
    from gpusess.sessions.leftovers import sentence

    lines = []
    for answer in found:
        lines += [f"{answer.provider}: {clean(answer.error)}"] if answer.error else []
        lines += [f"{answer.provider}: {clean(sentence(item))}" for item in answer.items]
    return lines


def _facts(fleet: FleetView, by: str, rows: list[Sum], found: list[Found]) -> dict[str, Any]:
    from dataclasses import asdict

    from gpusess.sessions import spending

    return {
        "burn": fleet.burn,
        "spent_today": fleet.spent_today,
        "rows": [
            {by: row.name, "spent": row.spent, "burn": row.burn, "instances": row.instances} for row in rows
        ],
        "sessions": [
            {
                "name": view.row.name,
                "spent": view.spent,
                "budget": view.row.options.get("budget"),
                "projected": spending.at_the_end(view),
            }
            for view in fleet.sessions
            if view.bills
        ],
        "leftovers": [{**asdict(item), "provider": a.provider} for a in found for item in a.items],
        "errors": {a.provider: a.error for a in found if a.error},
    }
