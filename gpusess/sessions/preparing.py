"""Making an instance ready: the agent, its environment, code, models and data, the setup commands, and the
orders of the runs. All of it may be done again at any time; what is there already is not sent twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gpusess import paths
from gpusess.errors import CommandFailed
from gpusess.remote.agent import Agent, session_folder
from gpusess.remote.keys import printable
from gpusess.sessions import code_facts, syncing
from gpusess.sessions.board import SETUP_LOG
from gpusess.sessions.context import Context, log
from gpusess.sessions.expected import expectation
from gpusess.sessions.store import RunRow
from gpusess.sessions.sweeping import give_checkpoints
from gpusess.spec import RunEntry, order_for
from gpusess.spec.models import REMOTE
from gpusess.sync import code
from remote_agent.protocol import Order


async def prepare(ctx: Context, agent: Agent, secrets: dict[str, str]) -> None:
    """Bring everything there. Raises RemoteError, SyncError."""
    setup = ctx.spec.setup
    engines = {need for run in ctx.spec.runs for need in run.needs}
    ctx.say("looking at the instance's Python")
    facts = await agent.environment(setup.python, setup.requirements, engines)
    ctx.say(f"Python {facts['python']} with {', '.join(facts['packages'])}")
    ctx.store.update(
        ctx.id, options={**ctx.row.options, "python": facts["executable"], "home": facts["home"]}
    )
    await _send(ctx, agent)
    await _run_setup(ctx, agent, secrets)


async def _send(ctx: Context, agent: Agent) -> None:
    """The spec's code and data."""
    sync = ctx.spec.sync
    await agent.script(".", {}, [f"mkdir -p {session_folder(ctx.id)}"])
    pushes = [(push.local(ctx.spec.base), push.to) for push in sync.push]
    root = sync.local_code(ctx.spec.base)
    provenance = asyncio.create_task(asyncio.to_thread(code.read_provenance, root)) if root else None
    async with agent.channels() as channels:
        for source in syncing.sources(ctx.id, root, pushes):
            done = await syncing.send(ctx.id, source, channels, ctx.say)
            for line in syncing.skipped_lines(done):
                log.info("%s: %s", source.name, line)
            if source.is_code and provenance:
                _note_code(ctx, done.id, await provenance)


def _note_code(ctx: Context, tree: str, found: code.Provenance | None) -> None:
    facts = code_facts.note(ctx.folder, tree, found)
    log.info("the code is %s", code_facts.text(facts))


async def _send_files(ctx: Context, agent: Agent, path: Path, place: str) -> str:
    async with agent.channels() as channels:
        done = await syncing.send(ctx.id, syncing.Source(path.name, path, place), channels, ctx.say)
    for line in syncing.skipped_lines(done):
        log.info("%s: %s", path.name, line)
    return done.id


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
    examples = await _send_need(ctx, agent, entry.local_examples(base), f"{folder}/examples")
    recording = await _send_need(ctx, agent, entry.local_recording(base), f"{folder}/recording")
    rows = await _send_need(ctx, agent, entry.local_training_data(base), f"{folder}/rows")
    adapted = await _send_need(ctx, agent, entry.local_base(base), f"{folder}/base")
    swept = await give_checkpoints(ctx, agent, run, entry)
    order = order_for(
        entry,
        run.id,
        model=f"{home}/{model.place}" if model else entry.remote_model or entry.model,
        model_id=_identity(entry, model, adapted),
        data_path=f"{home}/{data.place}" if data else None,
        examples=f"{home}/{examples.place}" if examples else None,
        recording=f"{home}/{recording.place}" if recording else None,
        training_data=f"{home}/{rows.place}" if rows else None,
        base=f"{home}/{adapted.place}" if adapted else (entry.base or "").removeprefix(REMOTE) or None,
        checkpoints=f"{home}/{swept}" if swept else None,
        expect=expectation(ctx.store, ctx.id, entry.expect),
        force=bool(ctx.row.options.get("force")),
    )
    code_facts.trace(ctx.folder, paths.run_dir(ctx.id, run.id), [])
    await agent.put_order(run.id, order.model_dump_json(indent=1), session_folder(ctx.id))
    return order


def _identity(entry: RunEntry, model: _Sent | None, base: _Sent | None) -> str:
    """What the model is wherever it lies; an adapter is another model on another base."""
    own = model.identity if model else entry.model
    if entry.base is None:
        return own
    return f"{own} on {base.identity if base else entry.base}"


async def _send_need(ctx: Context, agent: Agent, local: Path | None, place: str) -> _Sent | None:
    if local is None:
        return None
    # The name stays visible to whoever looks on the instance, and to tasks that go by a file's ending.
    place = f"{place}/{local.name}"
    content = await _send_files(ctx, agent, local, place)
    return _Sent(place, f"{local.name}@{content[:12]}")
