"""`gpusess sync`: bring a session's code and data up to date, look what that would send, fetch a folder."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpusess.analysis.text import size
from gpusess.cli.complete import session_names
from gpusess.errors import SessionError, Unreachable

if TYPE_CHECKING:
    from gpusess.remote.pool import Pool
    from gpusess.sessions.context import Context
    from gpusess.sync.progress import Progress

PATIENCE = 30.0
"""Seconds to try to reach the instance."""
DRAW_EVERY = 0.1
LISTED = 20
"""Paths that a preview names; the rest is counted."""


@click.command("sync")
@click.argument("session", required=False, shell_complete=session_names)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--fetch", metavar="PATH", help="Bring this part of the session's folder home instead.")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="With --fetch: the folder here.")
def command(session: str | None, dry_run: bool, fetch: str | None, to: Path | None) -> int:
    """Send what has changed of the code and data of SESSION (default: the newest one).

    What runs on the instance goes on with what it has; the next run gets the new. What git ignores and what
    .gpusessignore names is left out, and said.
    """
    from gpusess.sessions.context import open_context
    from gpusess.sessions.start import open_store

    if to and not fetch:
        raise click.UsageError("--to goes with --fetch")
    store = open_store()
    row = store.find(session)
    if row.endpoint is None or row.ended is not None:
        raise SessionError(
            f"{row.name} has no instance now (it is {row.state})", "`gpusess status` lists them"
        )
    ctx = open_context(store, row.id)
    asyncio.run(_connected(ctx, dry_run, fetch, to or Path()))
    return 0


async def _connected(ctx: Context, dry_run: bool, fetch: str | None, to: Path) -> None:
    from gpusess.sessions.link import GaveUp, Link

    link = Link(ctx)
    try:
        agent = await link.agent(patience=PATIENCE)
        async with agent.channels() as channels:
            if fetch:
                await _fetch(ctx, channels, fetch, to)
            else:
                await _send(ctx, channels, dry_run)
    except GaveUp:
        raise
    except Unreachable as exc:
        hint = "start it again: it goes on where it stopped"
        raise Unreachable(exc.message, exc.hint or hint) from exc
    finally:
        await link.close()


async def _send(ctx: Context, channels: Pool, dry_run: bool) -> None:
    from gpusess.sessions import code_facts, syncing
    from gpusess.sync.code import read_provenance

    spec = ctx.spec.sync
    root = spec.local_code(ctx.spec.base)
    sources = syncing.sources(ctx.id, root, [(push.local(ctx.spec.base), push.to) for push in spec.push])
    if not sources:
        raise SessionError("the spec of this session syncs nothing", "name a folder as `sync.code` in it")
    for source in sources:
        if dry_run:
            for text in syncing.plan_lines(source, await syncing.plan(ctx.id, source, channels), LISTED):
                click.echo(text)
            continue
        with _Line(source.name) as line:
            done = await syncing.send(ctx.id, source, channels, line.say, line.draw)
        for text in syncing.skipped_lines(done):
            click.echo(f"  {text}")
        if source.is_code and root:
            code_facts.note(ctx.folder, done.id, await asyncio.to_thread(read_provenance, root))


async def _fetch(ctx: Context, channels: Pool, path: str, to: Path) -> None:
    from gpusess.remote.agent import session_folder
    from gpusess.sessions import syncing
    from gpusess.sync.fetch import fetch
    from gpusess.sync.progress import Progress

    remote = f"{session_folder(ctx.id)}/{path}"
    with _Line(path) as line:
        done = await fetch(remote, to, channels, Progress(line.draw))
    total = sum(file.size for file in done.files)
    click.echo(f"{path}: {syncing.files_of(len(done.files))}, {size(total)}; fetched {size(done.received)}")
    for text in syncing.skipped_lines(done):
        click.echo(f"  {text}")


class _Line:
    """One line of progress on a terminal, drawn over and gone at the end; nothing where there is none."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._drawn = 0.0
        self._on = sys.stderr.isatty()

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._clear()

    def say(self, text: str) -> None:
        self._clear()
        click.echo(text)

    def draw(self, progress: Progress) -> None:
        from gpusess.sessions.syncing import progress_line

        now = time.monotonic()
        if self._on and now - self._drawn > DRAW_EVERY:
            self._drawn = now
            print(f"\r\x1b[K{progress_line(self._name, progress)}", end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._on and self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
