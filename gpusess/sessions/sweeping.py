"""The checkpoints of a sweep on their way to it: those of a run on this very instance lie there already, all
others are sent from home, without what only a training reads.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from gpusess import paths
from gpusess.errors import SyncError
from gpusess.remote.agent import Agent, run_folder, session_folder
from gpusess.sessions.context import Context
from gpusess.sessions.find_runs import find_run
from gpusess.sessions.store import RunRow
from gpusess.spec import RunEntry
from gpusess.sync import checkpoints as sync
from gpusess.sync.files import FileTree, read_files
from gpusess.sync.push import push
from remote_agent.checkpoints import folder
from remote_agent.files import CHECKPOINTS
from remote_agent.manifest import EXPORTS, RESUMING

KEPT_HINT = "keep them: `sync: {checkpoints: {keep: 100}}` and `train: {keep: 100}` in the training's spec"


async def give_checkpoints(ctx: Context, agent: Agent, run: RunRow, entry: RunEntry) -> str | None:
    """Make sure that a sweep's checkpoints are on the instance; the folder there, relative to its home.

    None where the run is no sweep. Raises SyncError, SessionError, Unreachable.
    """
    if entry.sweep is None:
        return None
    source = _source(ctx, entry)
    here = places(source)
    own = next((r for r in ctx.store.runs(ctx.id) if paths.run_dir(ctx.id, r.id) == source.parent), None)
    target = (
        f"{run_folder(own.id)}/{CHECKPOINTS}"
        if own
        else f"{session_folder(ctx.id)}/needs/{run.name}/{CHECKPOINTS}"
    )
    async with agent.channels() as channels:
        there = {made.name for made in await sync.listing(channels, run_folder(own.id))} if own else set()
        missing = [place for place in here if place.name not in there]
        if not here and not there:
            raise SyncError(f"no checkpoint of {entry.sweep.of} is in {source} or on the instance", KEPT_HINT)
        for number, place in enumerate(missing, 1):
            ctx.say(f"sending the checkpoint {place.name} ({number} of {len(missing)})")
            tree = await asyncio.to_thread(_tree, place, whole_one=own is not None)
            await push(tree, f"{target}/{place.name}", channels)
    return target


def places(source: Path) -> list[Path]:
    """The checkpoints in a folder here, whole or not: the instance looks, and passes over those that are
    not."""
    if not source.is_dir():
        return []
    found = (path for path in source.iterdir() if path.is_dir() and path.name[0] != ".")
    return sorted(path for path in found if path.name not in EXPORTS and any(path.iterdir()))


def _source(ctx: Context, entry: RunEntry) -> Path:
    """Where the checkpoints lie at home."""
    assert entry.sweep is not None
    local = entry.sweep.local_folder(ctx.spec.base)
    if local is not None:
        return checkpoints_in(local)
    own = next((r for r in ctx.store.runs(ctx.id) if r.name == entry.sweep.of), None)
    if own is not None:
        return folder(paths.run_dir(ctx.id, own.id))
    return folder(find_run(ctx.store, entry.sweep.of).folder)


def checkpoints_in(given: Path) -> Path:
    """The folder of checkpoints that a user means: itself, or the one in a run's folder."""
    inner = given / CHECKPOINTS
    return inner if inner.is_dir() else given


def _tree(place: Path, whole_one: bool) -> FileTree:
    """What of a checkpoint is sent: all of it into the run's own folder, else what an evaluation reads."""
    tree = read_files(place)
    if whole_one:
        return tree
    entries = tuple(entry for entry in tree.entries if not entry.path.startswith(RESUMING))
    return dataclasses.replace(tree, entries=entries)
