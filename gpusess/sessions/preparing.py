"""Making an instance ready: the agent, its environment, code, models and data, the setup commands, and the
orders of the runs. All of it may be done again at any time; what is there already is not sent twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gpusess.remote.agent import Agent, blob, session_folder
from gpusess.sessions.board import SETUP_LOG
from gpusess.sessions.context import Context, log
from gpusess.sessions.store import RunRow
from gpusess.spec import RunEntry, order_for
from gpusess.sync import code, files
from remote_agent.protocol import Order


async def prepare(ctx: Context, agent: Agent, secrets: dict[str, str]) -> None:
    """Bring everything there. Raises RemoteError, SyncError."""
    setup = ctx.spec.setup
    engines = {run.engine.name for run in ctx.spec.runs}
    ctx.say("looking at the instance's Python")
    facts = await agent.environment(setup.python, setup.requirements, engines)
    ctx.say(f"Python {facts['python']} with {', '.join(facts['packages'])}")
    ctx.store.update(ctx.id, options={**ctx.row.options, "python": facts["executable"], "home": facts["home"]})
    await _send_code(ctx, agent)
    for push in ctx.spec.sync.push:
        await _send_files(ctx, agent, push.local(ctx.spec.base), f"{session_folder(ctx.id)}/{push.to}")
    await _run_setup(ctx, agent, secrets)


async def _send_code(ctx: Context, agent: Agent) -> None:
    root = ctx.spec.sync.local_code(ctx.spec.base)
    if root is None:
        await agent.script(".", {}, [f"mkdir -p {session_folder(ctx.id)}"])
        return
    tree = await asyncio.to_thread(code.read_code, root)
    place = f"{session_folder(ctx.id)}/code"
    sent = await agent.put(blob(tree.content_id), [blob(tree.content_id)], code.pack(tree))
    await agent.link(blob(tree.content_id), place)
    origin = tree.provenance.commit or "no commit"
    dirty = " with changes" if tree.provenance.dirty else ""
    _report(ctx, "code", root, len(tree.entries), tree.bytes, sent, [s.path for s in tree.skipped])
    log.info("code is %s%s, tree %s", origin[:12], dirty, tree.content_id[:16])


async def _send_files(ctx: Context, agent: Agent, source: Path, place: str) -> None:
    tree = await asyncio.to_thread(files.read_files, source)
    target = blob(tree.content_id)
    sent = await agent.put(target, tree.unpack_args(target), files.pack(tree))
    await agent.link(target, place)
    _report(ctx, source.name, source, len(tree.entries), tree.bytes, sent, [s.path for s in tree.skipped])


def _report(
    ctx: Context, what: str, source: Path, count: int, size: int, sent: bool, skipped: list[str]
) -> None:
    verb = "sent" if sent else "already there"
    ctx.say(f"{what}: {count} files, {size / 1e6:.1f} MB {verb}")
    if skipped:
        log.info("left out of %s: %s", source, ", ".join(skipped))


async def _run_setup(ctx: Context, agent: Agent, secrets: dict[str, str]) -> None:
    if not ctx.spec.setup.commands:
        return
    ctx.say(f"running {len(ctx.spec.setup.commands)} setup commands")
    said = await agent.script(session_folder(ctx.id), {**ctx.spec.env, **secrets}, ctx.spec.setup.commands)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    with (ctx.folder / SETUP_LOG).open("a") as file:
        file.writelines(f"{stamp} INFO setup {line}\n" for line in said.splitlines())


# --- orders ---


@dataclass(frozen=True, slots=True)
class _Needed:
    """A local file or folder that a run needs, and where the instance has it."""

    local: Path | None
    place: str

    def on_instance(self, home: str) -> str | None:
        return f"{home}/{self.place}" if self.local else None


async def give_order(ctx: Context, agent: Agent, run: RunRow) -> Order:
    """Send what the run needs beyond the session's own files, and its order."""
    entry = next(r for r in ctx.spec.runs if r.name == run.name)
    home = ctx.row.options["home"]
    order = _order(ctx, entry, run, home)
    for needed in _needs(ctx, entry, run):
        if needed.local is not None:
            await _send_files(ctx, agent, needed.local, needed.place)
    await agent.put_order(run.id, order.model_dump_json(indent=1), session_folder(ctx.id))
    return order


def _needs(ctx: Context, entry: RunEntry, run: RunRow) -> list[_Needed]:
    folder = f"{session_folder(ctx.id)}/needs/{run.name}"
    base = ctx.spec.base
    return [
        _Needed(entry.local_model(base), f"{folder}/model"),
        _Needed(entry.local_data(base), f"{folder}/data.jsonl"),
        _Needed(entry.local_recording(base), f"{folder}/recording.jsonl"),
    ]


def _order(ctx: Context, entry: RunEntry, run: RunRow, home: str) -> Order:
    model, data, recording = _needs(ctx, entry, run)
    return order_for(
        entry,
        run.id,
        model=model.on_instance(home) or entry.remote_model or entry.model,
        data_path=data.on_instance(home),
        recording=recording.on_instance(home),
    )
