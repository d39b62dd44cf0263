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
def command(by: str, days: int | None, offline: bool, as_json: bool) -> int:
    """Show what all sessions have cost, from the ledger of every instance that was ever launched.

    The sums are upper bounds: an instance counts from the launch call to the moment when its end was known.
    """
    from gpusess.sessions import leftovers
    from gpusess.sessions.board import Board
    from gpusess.sessions.start import open_store

    fleet = Board(open_store()).refresh(budget=1 << 40)
    since = _since(fleet.now, days)
    rows = _sums(fleet, by, since)
    found = [] if offline else asyncio.run(leftovers.look_for())
    if as_json:
        click.echo(json.dumps(_facts(fleet, rows, found)))
        return 0
    _table(by, rows)
    for line in (*_totals(fleet), *_budgets(fleet), *_beside(found)):
        click.echo(line)
    return 0


def _since(now: float, days: int | None) -> float:
    from gpusess.sessions.board import midnight

    if days is None:
        return 0.0
    start = midnight(now)
    for _ in range(days - 1):
        start = midnight(start - 1)
    return start


def _sums(fleet: FleetView, by: str, since: float) -> list[dict[str, Any]]:
    """What was spent, summed; in order of time, or the dearest first."""
    from gpusess.sessions import money

    sums: dict[str, dict[str, Any]] = {}
    for view in fleet.sessions:
        for rental in view.rentals:
            parts = (
                money.by_day(rental, fleet.now)
                if by == "day"
                else {
                    {"session": view.row.name, "provider": rental.provider, "instance": rental.name}[by]: (
                        money.cost(rental, fleet.now, since)
                    )
                }
            )
            for key, spent in parts.items():
                if by == "day" and time.mktime(time.strptime(key, "%Y-%m-%d")) < since:
                    continue
                row = sums.setdefault(key, {by: key, "spent": 0.0, "burn": 0.0, "instances": 0})
                row["spent"] += spent
                row["instances"] += rental.existed
    return _with_burn(fleet, by, list(sums.values()))


def _with_burn(fleet: FleetView, by: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add what each costs an hour now, and put them in order."""
    now: dict[str, float] = {}
    for view in fleet.sessions:
        for rental in (r for r in view.rentals if r.bills):
            keys = {"session": view.row.name, "provider": rental.provider, "instance": rental.name}
            key = keys.get(by, "")
            now[key] = now.get(key, 0.0) + rental.price
    for row in rows:
        row["burn"] = now.get(row[by], 0.0)
    if by == "day":
        return sorted(rows, key=lambda row: str(row["day"]))
    return sorted(rows, key=lambda row: -row["spent"])


def _table(by: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("nothing was spent")
        return
    lines = [(by.upper(), "INSTANCES", "SPENT", "$/H NOW")]
    for row in rows:
        burn = f"{row['burn']:.2f}" if row["burn"] else "-"
        lines.append((row[by], str(row["instances"]), f"{row['spent']:.2f}", burn))
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
        lines.append(f"today's budget ${limit:.2f}: {_when_spent(limit - fleet.spent_today, fleet.burn)}")
    return lines


def _budgets(fleet: FleetView) -> list[str]:
    """Each session that bills and has a limit: when it comes, and what the run will have cost."""
    return [_budget(view) for view in fleet.sessions if view.bills and view.row.options.get("budget")]


def _budget(view: SessionView) -> str:
    budget, price = float(view.row.options["budget"]), view.row.price
    line = f"{view.row.name}: ${view.spent:.2f} of ${budget:.2f}: {_when_spent(budget - view.spent, price)}"
    if (projected := projection(view)) is not None:
        fits = "within the budget" if projected <= budget else "MORE than the budget: it will be cut off"
        line += f"; the run will have cost ${projected:.2f}, {fits}"
    return line


def projection(view: SessionView) -> float | None:
    """US dollars that the session will have cost when its present run ends; None: not known yet."""
    run = view.run
    if run is None or run.row.status != "running" or run.state.eta is None:
        return None
    return view.spent + view.row.price * run.state.eta / 3600


def _when_spent(left: float, burn: float) -> str:
    if left <= 0:
        return "spent"
    if burn <= 0:
        return f"${left:.2f} left"
    end = time.strftime("%a %H:%M", time.localtime(time.time() + left / burn * 3600))
    return f"${left:.2f} left, spent {end} at this rate"


def _beside(found: list[Found]) -> list[str]:
    """Volumes and the like that go on billing without an instance."""
    from gpusess.sessions.leftovers import sentence

    lines = []
    for answer in found:
        lines += [f"{answer.provider}: {clean(answer.error)}"] if answer.error else []
        lines += [f"{answer.provider}: {clean(sentence(item))}" for item in answer.items]
    return lines


def _facts(fleet: FleetView, rows: list[dict[str, Any]], found: list[Found]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "burn": fleet.burn,
        "spent_today": fleet.spent_today,
        "rows": rows,
        "sessions": [
            {
                "name": view.row.name,
                "spent": view.spent,
                "budget": view.row.options.get("budget"),
                "projected": projection(view),
            }
            for view in fleet.sessions
            if view.bills
        ],
        "leftovers": [{**asdict(item), "provider": a.provider} for a in found for item in a.items],
        "errors": {a.provider: a.error for a in found if a.error},
    }
