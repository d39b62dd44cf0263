"""Making an instance ready: the agent, its environment, code, models and data, the setup commands, and the
orders of the runs. All of it may be done again at any time; what is there already is not sent twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gpusess.errors import CommandFailed
from gpusess.remote.agent import Agent, blob, session_folder
from gpusess.remote.keys import printable
from gpusess.sessions.board import SETUP_LOG
from gpusess.sessions.context import Context, log
from gpusess.sessions.store import RunRow
from gpusess.spec import order_for
from gpusess.sync import code, files
from remote_agent.protocol import Order


async def prepare(ctx: Context, agent: Agent, secrets: dict[str, str]) -> None:
    """Bring everything there. Raises RemoteError, SyncError."""
    setup = ctx.spec.setup
    engines = {run.engine.name for run in ctx.spec.runs}
    ctx.say("looking at the instance's Python")
    facts = await agent.environment(setup.python, setup.requirements, engines)
    ctx.say(f"Python {facts['python']} with {', '.join(facts['packages'])}")
    ctx.store.update(
        ctx.id, options={**ctx.row.options, "python": facts["executable"], "home": facts["home"]}
    )
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
    _report(ctx, "code", root, len(tree.entries), tree.bytes, sent, [s.path for s in tree.skipped])
    if tree.provenance:
        dirty = " with changes" if tree.provenance.dirty else ""
        log.info("the code is commit %s%s", tree.provenance.commit or "(none yet)", dirty)


async def _send_files(ctx: Context, agent: Agent, source: Path, place: str) -> str:
    tree = await asyncio.to_thread(files.read_files, source)
    target = blob(tree.content_id)
    sent = await agent.put(target, tree.unpack_args(target), files.pack(tree))
    await agent.link(target, place)
    _report(ctx, source.name, source, len(tree.entries), tree.bytes, sent, [s.path for s in tree.skipped])
    return tree.content_id


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
    status, said = await agent.script(
        session_folder(ctx.id), {**ctx.spec.env, **secrets}, ctx.spec.setup.commands
    )
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    with (ctx.folder / SETUP_LOG).open("a") as file:
        file.writelines(f"{stamp} INFO setup {line}\n" for line in said.splitlines())
    if status != 0:
        last = " | ".join(said.strip().splitlines()[-3:]) or "it printed nothing"
        raise CommandFailed(
            f"a setup command ended with exit status {status}: {printable(last)}",
            "`gpusess logs --source setup` has the whole output; mend the spec and start it again",
        )


# --- orders ---


@dataclass(frozen=True, slots=True)
class _Sent:
    """A file or folder of a run that was sent: where the instance has it, and what it is."""

    place: str
    identity: str


async def give_order(ctx: Context, agent: Agent, run: RunRow) -> Order:
    """Send what the run needs beyond the session's own files, and its order."""
    entry = next(r for r in ctx.spec.runs if r.name == run.name)
    home, base = ctx.row.options["home"], ctx.spec.base
    folder = f"{session_folder(ctx.id)}/needs/{run.name}"
    model = await _send_need(ctx, agent, entry.local_model(base), f"{folder}/model")
    data = await _send_need(ctx, agent, entry.local_data(base), f"{folder}/data")
    recording = await _send_need(ctx, agent, entry.local_recording(base), f"{folder}/recording")
    order = order_for(
        entry,
        run.id,
        model=f"{home}/{model.place}" if model else entry.remote_model or entry.model,
        model_id=model.identity if model else entry.model,
        data_path=f"{home}/{data.place}" if data else None,
        recording=f"{home}/{recording.place}" if recording else None,
    )
    await agent.put_order(run.id, order.model_dump_json(indent=1), session_folder(ctx.id))
    return order


async def _send_need(ctx: Context, agent: Agent, local: Path | None, place: str) -> _Sent | None:
    if local is None:
        return None
    # The name stays visible to whoever looks on the instance, and to tasks that go by a file's ending.
    place = f"{place}/{local.name}"
    content = await _send_files(ctx, agent, local, place)
    return _Sent(place, f"{local.name}@{content[:12]}")
