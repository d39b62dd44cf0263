"""`gpusess instances`: what the providers list, held against the ledger, and what to do with unknown ones."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from gpusess.analysis.text import clean

if TYPE_CHECKING:
    from gpusess.sessions.ledger import Rental, Sighting
    from gpusess.sessions.store import Store
    from gpusess.sessions.strangers import Stranger


@click.command("instances")
@click.option("--adopt", metavar="ID", help="Take an unknown instance into the ledger, as a session.")
@click.option("--terminate", metavar="ID", help="Adopt an unknown instance and give it back.")
@click.option("--ignore", metavar="ID", help="Do not show an unknown instance any more.")
@click.option(
    "--provider", "providers", multiple=True, help="Only this provider; may be given several times."
)
@click.option("--cached", is_flag=True, help="What was listed last; nobody is asked.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    adopt: str | None,
    terminate: str | None,
    ignore: str | None,
    providers: tuple[str, ...],
    cached: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """List gpusess' instances at all configured providers: this ledger's, and unknown ones.

    An unknown instance bears gpusess' tag, but nothing here has launched it: another laptop may have. It is
    never ended unless you say so with --terminate.
    """
    from gpusess.sessions import reconcile, strangers
    from gpusess.sessions.start import open_store

    store = open_store()
    if sum(x is not None for x in (adopt, terminate, ignore)) > 1:
        raise click.UsageError("give one of --adopt, --terminate and --ignore")
    if not cached:
        asyncio.run(reconcile.look_around(store, providers or None))
    if chosen := adopt or terminate or ignore:
        stranger = strangers.find(store.ledger, chosen)
        return _act(store, stranger, "adopt" if adopt else "terminate" if terminate else "ignore", yes)
    sightings = [s for s in store.ledger.sightings() if not providers or s.provider in providers]
    unknown = strangers.strangers(store.ledger, sightings)
    if as_json:
        click.echo(json.dumps(_facts(store, sightings, unknown)))
    else:
        _print(store, sightings, unknown)
    return 0


def _act(store: Store, stranger: Stranger, verb: str, yes: bool) -> int:
    from gpusess.sessions import reconcile, start

    instance = stranger.instance
    what = f"{stranger.provider} {instance.id} ({instance.name}, ${instance.price:.2f}/h) {stranger.what}"
    if verb == "ignore":
        store.ledger.ignore(stranger.provider, instance.id, time.time())
        click.echo(f"{what}; it is shown no more, and it goes on billing")
        return 0
    question = "terminate it? What is on it is lost" if verb == "terminate" else "adopt it?"
    if not yes and not click.confirm(f"{what}: {question}", default=False):
        return 1
    name = start.free_name(store)
    session_id = reconcile.adopt(store, stranger, name)
    click.echo(f"adopted as {name}")
    if verb == "adopt":
        return 0
    from gpusess.cli import watch
    from gpusess.sessions.states import State

    start.ask_to_terminate(store, session_id, pull=False)
    view = watch.watch(store, session_id, only_new=True, to_the_end=True)
    watch.print_summary(view, as_json=False)
    return 0 if view.row.state is State.TERMINATED else 1


def _facts(store: Store, sightings: list[Sighting], unknown: list[Stranger]) -> dict[str, Any]:
    return {
        "providers": [
            {
                "provider": s.provider,
                "at": s.at or None,
                "instances": len(s.instances),
                "error": s.error or None,
            }
            for s in sightings
        ],
        "unknown": [stranger_facts(s) for s in unknown],
        "ledger": [asdict(rental) for rental in store.ledger.rentals() if rental.bills],
    }


def stranger_facts(stranger: Stranger) -> dict[str, Any]:
    instance = stranger.instance
    return {
        "provider": stranger.provider,
        "id": instance.id,
        "name": instance.name,
        "type": instance.type,
        "region": instance.region,
        "status": str(instance.status),
        "price_per_hour": instance.price,
        "listed": stranger.at,
        "elsewhere": stranger.elsewhere,
        "what": stranger.what,
    }


def _print(store: Store, sightings: list[Sighting], unknown: list[Stranger]) -> None:
    rows: list[tuple[str, ...]] = [("PROVIDER", "INSTANCE", "NAME", "$/H", "FOR", "WHOSE")]
    rows += _ledger_rows(store, sightings)
    rows += [_stranger_row(stranger) for stranger in unknown]
    if len(rows) == 1:
        click.echo("no instance of gpusess lives")
    else:
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
    for sighting in sightings:
        _say_when(sighting)
    if unknown:
        click.echo("next: `gpusess instances --terminate ID`, `--adopt ID` or `--ignore ID`", err=True)


def _ledger_rows(store: Store, sightings: list[Sighting]) -> list[tuple[str, ...]]:
    names, now = {s.id: s.name for s in store.sessions()}, time.time()
    providers = {sighting.provider for sighting in sightings}
    return [
        (
            rental.provider,
            rental.instance_id or "?",
            rental.name,
            f"{rental.price:.2f}",
            f"{(now - rental.asked) / 3600:.1f} h",
            f"{names.get(rental.session, rental.session)}{_ended_there(rental, sightings)}",
        )
        for rental in store.ledger.rentals()
        if rental.bills and rental.provider in providers
    ]


def _ended_there(rental: Rental, sightings: list[Sighting]) -> str:
    """What to do where the provider says that it has ended, and the session does not know it yet."""
    for sighting in sightings:
        for instance in sighting.instances if sighting.provider == rental.provider else []:
            if instance.id == rental.instance_id and instance.status == "terminated":
                return ": has ended there; `gpusess resume` or `gpusess terminate` settles it"
    return ""


def _stranger_row(stranger: Stranger) -> tuple[str, ...]:
    i = stranger.instance
    whose = f"unknown: it {stranger.what}"
    return (stranger.provider, clean(i.id), clean(i.name), f"{i.price:.2f}", "?", whose)


def _say_when(sighting: Sighting) -> None:
    trouble = f" (now: {clean(sighting.error)})" if sighting.error else ""
    age = time.time() - sighting.at
    listed = f"{len(sighting.instances)} listed {age:.0f} s ago" if sighting.at else "never listed"
    click.echo(f"{sighting.provider}: {listed}{trouble}", err=True)
