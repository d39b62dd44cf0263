"""`gpusess reap`: end instances whose latest end has passed, for a host that is always on."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import click

from gpusess.analysis.text import clean

if TYPE_CHECKING:
    from gpusess.sessions.reap import Reaped


@click.command("reap")
@click.option("--dry-run", is_flag=True, help="Only say what would be ended.")
@click.option("--provider", "providers", multiple=True, help="Only this provider (several times: these).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(dry_run: bool, providers: tuple[str, ...], as_json: bool) -> int:
    """End gpusess' instances whose deadline has passed, from whichever laptop they were launched.

    For cron or a systemd timer on a host that is always on: see docs/billing.md. It reads the deadline from
    the instance's tag or name, and touches nothing that carries none.

    Exit status 3 when something could not be ended, or a provider could not be asked.
    """
    ended = asyncio.run(_reap(providers, dry_run))
    if as_json:
        click.echo(json.dumps([_facts(reaped) for reaped in ended]))
    else:
        for reaped in ended:
            click.echo(_line(reaped))
        if not ended:
            click.echo("nothing is past its deadline")
    return 0 if all(reaped.is_settled for reaped in ended) else 3


async def _reap(names: tuple[str, ...], dry_run: bool) -> list[Reaped]:
    from gpusess.errors import AuthRefused
    from gpusess.sessions import reap, reconcile
    from gpusess.sessions.offers import NOT_OFFERING

    opened = reconcile.configured(names or None)
    opened = {name: p for name, p in opened.items() if names or name not in NOT_OFFERING}
    if not opened:
        raise AuthRefused("there is no key for any provider", "docs/providers/README.md says how to give one")
    try:
        return await reap.reap(opened, dry_run=dry_run)
    finally:
        for provider in opened.values():
            await provider.close()


def _facts(reaped: Reaped) -> dict[str, object]:
    instance = reaped.instance
    return {
        "provider": reaped.provider,
        "id": instance.id if instance else None,
        "name": instance.name if instance else None,
        "deadline": reaped.deadline or None,
        "outcome": reaped.outcome,
    }


def _line(reaped: Reaped) -> str:
    if reaped.instance is None:
        return f"{reaped.provider}: {clean(reaped.outcome)}"
    over = (time.time() - reaped.deadline) / 60
    what = f"{reaped.provider} {clean(reaped.instance.id)} ({clean(reaped.instance.name)})"
    return f"{what}: {over:.0f} min past its deadline: {clean(reaped.outcome)}"
