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
    from gpusess.providers import PROVIDERS, open_provider
    from gpusess.providers.base import Instance, InstanceStatus

    launched = {i.launch_name for i in store.intents() if i.verb == "launch"}
    ended = {s.launch_name for s in store.sessions() if s.ended is not None}
    for name in PROVIDERS:
        try:
            instances: list[Instance] = asyncio.run(open_provider(name).list())
        except GpusessError as exc:
            yield Finding(f"provider {name}", "warn", exc.message, exc.hint)
            continue
        alive = [i for i in instances if i.status is not InstanceStatus.TERMINATED]
        for instance in alive:
            if instance.name not in launched:
                message = f"instance {instance.id} ({instance.name}) lives, and no session here launched it"
                yield Finding(f"provider {name}", "warn", message, "end it in the provider's console")
            elif instance.name in ended:
                message = f"instance {instance.id} lives although its session has ended"
                yield Finding(f"provider {name}", "fail", message, "terminate it in the provider's console")
        yield Finding(f"provider {name}", "ok", f"{len(alive)} instances live")
