"""`gpusess doctor`: is this installation whole, and does anything bill that nobody drives?"""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from gpusess import paths
from gpusess.errors import GpusessError

if TYPE_CHECKING:
    from gpusess.sessions.ledger import Sighting
    from gpusess.sessions.store import Store


JUST_NOW = 5.0
"""Seconds that a new session's driver has to take over."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`status`: ok, warn or fail. `hint`: the next step where it is not ok."""

    name: str
    status: str
    message: str
    hint: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(as_json: bool) -> int:
    """Check this installation, and look for instances that bill without anybody driving them.

    Exit status 1 when something has failed.
    """
    findings = list(examine())
    if as_json:
        click.echo(json.dumps([asdict(f) for f in findings]))
    else:
        for f in findings:
            click.echo(f"{f.status:<5} {f.name}: {f.message}")
            if f.hint:
                click.echo(f"      next: {f.hint}")
    return 1 if any(f.status == "fail" for f in findings) else 0


def examine() -> Iterator[Finding]:
    """All findings, cheapest first."""
    yield _python()
    yield _programs()
    yield _guarded("settings", _settings)
    yield _guarded("data folder", _data_folder)
    yield _guarded("agent", _agent)
    from gpusess.sessions.start import open_store

    store = open_store()
    yield from _sessions(store)
    yield from _instances(store)
    yield from _leftovers()


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except GpusessError as exc:
        return Finding(name, "fail", exc.message, exc.hint)
    except (OSError, sqlite3.Error) as exc:
        return Finding(name, "fail", str(exc), "check its owner, its mode and the disk's space")


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()}, {sys.executable}")


def _programs() -> Finding:
    if shutil.which("ssh") is None:
        return Finding(
            "ssh", "warn", "no `ssh` program: `gpusess ssh` will not work", "install OpenSSH's client"
        )
    return Finding("ssh", "ok", shutil.which("ssh") or "")


def _settings() -> Finding:
    from gpusess.config import load_settings

    load_settings()
    path = paths.config_file()
    return Finding("settings", "ok", str(path) if path.exists() else "defaults (no settings file)")


def _data_folder() -> Finding:
    home = paths.private_dir(paths.home())
    probe = home / ".doctor"
    probe.write_text("x")
    probe.unlink()
    free = shutil.disk_usage(home).free / 1e9
    status = "ok" if free > 1 else "warn"
    return Finding("data folder", status, f"{home}, {free:.1f} GB free", "make room" if free <= 1 else "")


def _agent() -> Finding:
    from gpusess.remote.package import build

    package = build()
    return Finding("agent", "ok", f"{package.id}, {len(package.content) // 1024} KiB")


def _sessions(store: Store) -> Iterator[Finding]:
    from gpusess.sessions.board import Board

    for view in Board(store).refresh(budget=1 << 40).sessions:
        name = f"session {view.row.name}"
        just_begun = view.now - view.row.created < JUST_NOW and not view.bills
        if (view.needs_driver or (view.bills and not view.driven)) and not just_begun:
            bills = f"; it bills ${view.row.price:.2f}/h" if view.bills else ""
            message = f"{view.row.state}, and nobody drives it{bills}"
            hint = f"`gpusess resume {view.row.name}` or `gpusess terminate {view.row.name}`"
            yield Finding(name, "warn", message, hint)
        for run in view.runs:
            if run.damage:
                yield Finding(name, "fail", run.damage, f"`gpusess pull {view.row.name}`")


def _instances(store: Store) -> Iterator[Finding]:
    """Every instance that a provider lists is held against what was launched from here."""
    from gpusess.sessions import reconcile, strangers

    sightings = asyncio.run(reconcile.look_around(store))
    unknown = strangers.strangers(store.ledger, sightings)
    for sighting in sightings:
        name = f"provider {sighting.provider}"
        if sighting.error:
            yield Finding(name, "warn", sighting.error, "`gpusess instances` asks again")
            continue
        for stranger in (s for s in unknown if s.provider == sighting.provider):
            instance = stranger.instance
            message = f"instance {instance.id} ({instance.name}, ${instance.price:.2f}/h) {stranger.what}"
            status = "warn" if stranger.rental is None else "fail"
            yield Finding(name, status, message, f"`gpusess instances --terminate {instance.id}` or --adopt")
        yield Finding(name, "ok", f"{_living(sighting)} instances live")
    yield from _without_a_key(store, {s.provider for s in sightings})


def _living(sighting: Sighting) -> int:
    from gpusess.providers.base import InstanceStatus

    return sum(i.status is not InstanceStatus.TERMINATED for i in sighting.instances)


def _without_a_key(store: Store, asked: set[str]) -> Iterator[Finding]:
    """What bills at a provider that cannot be asked."""
    for rental in store.ledger.rentals():
        if rental.bills and rental.provider not in asked:
            message = f"{rental.name} bills ${rental.price:.2f}/h there, and there is no key to ask with"
            hint = f"give the key of {rental.provider}; docs/providers/{rental.provider}.md says how"
            yield Finding(f"provider {rental.provider}", "fail", message, hint)


def _leftovers() -> Iterator[Finding]:
    """What bills beside instances, where the provider says so."""
    from gpusess.sessions import leftovers

    for found in asyncio.run(leftovers.look_for()):
        if found.error:
            yield Finding(f"leftovers {found.provider}", "warn", found.error)
        for item in found.items:
            yield Finding(
                f"leftovers {found.provider}",
                "warn" if item.ours else "ok",
                leftovers.sentence(item),
                "remove it in the provider's console if you do not need it" if item.ours else "",
            )
