"""Ready means computed: before anything else is paid for, every GPU of the instance has done an operation."""

from __future__ import annotations

from typing import Any

from gpusess.errors import CommandFailed, RemoteError
from gpusess.remote.agent import Agent
from gpusess.remote.keys import printable
from gpusess.sessions.choosing import same_model
from gpusess.sessions.context import Context, log
from remote_agent.registry import ENGINE_NEEDS

READY_LIMIT = 4 * 60.0
"""Seconds that drivers may need after boot (a fabric manager starts late), before a refusal counts."""
TRY_EVERY = 10.0
CALL_LIMIT = 180.0

NOT_READY = 802
"""CUDA_ERROR_SYSTEM_NOT_READY: the GPUs are there, the system around them is not."""


async def check_gpus(ctx: Context, agent: Agent) -> None:
    """Try each GPU through its driver until all that were paid for have computed.

    Raises RemoteError, saying what is wrong and that it bills, where they do not within `READY_LIMIT`.
    """
    paid = _paid(ctx)
    if not paid:
        return
    await agent.use_python(ctx.spec.setup.python or ctx.row.options.get("python") or "python3")
    wait = ctx.wait()
    while True:
        driver, trouble = await _try_driver(agent, paid)
        if not trouble:
            names = [gpu["name"] for gpu in driver["gpus"]]
            ctx.store.update(ctx.id, options={**ctx.row.options, "gpus": names})
            kinds = printable(", ".join(dict.fromkeys(names)))
            ctx.say(f"{len(names)} GPUs have computed, {paid} were paid for: {kinds}")
            _compare(ctx, names)
            return
        if wait.elapsed > READY_LIMIT:
            raise RemoteError(trouble, _next_step(ctx, driver))
        ctx.say(f"{trouble}; trying again, {wait.elapsed:.0f} of {READY_LIMIT:.0f} s")
        await wait.pause(TRY_EVERY)


async def check_torch(ctx: Context, agent: Agent) -> None:
    """Compute with torch, where the runs need it, in the environment that they get.

    On an instance that costs nothing the run's own checks are early enough. Raises RemoteError.
    """
    paid = _paid(ctx)
    needs = {
        need.split(">")[0].split("=")[0] for run in ctx.spec.runs for need in ENGINE_NEEDS[run.engine.name]
    }
    if "torch" not in needs or not (paid or ctx.row.price > 0):
        return
    ctx.say("computing with torch")
    facts = (await agent.ask("gpus", "--torch", timeout=CALL_LIMIT))["torch"]
    bad = [f"{d['device']}: {d['error']}" for d in facts["devices"] if d["error"]]
    good = [d for d in facts["devices"] if not d["error"] and (d["device"] != "cpu" or not paid)]
    if facts["error"] or bad or len(good) < max(1, paid):
        said = facts["error"] or "; ".join(bad) or f"it sees {len(good)} of {paid} GPUs"
        raise RemoteError(
            f"torch {facts['version'] or ''} does not compute on the instance: {printable(said)}",
            "is it a build for this driver? See `setup.requirements`; the instance bills meanwhile",
        )
    log.info("torch %s computed on %s", facts["version"], ", ".join(d["device"] for d in good))


def _paid(ctx: Context) -> int:
    return int((ctx.row.offer or {}).get("gpus") or 0)


async def _try_driver(agent: Agent, paid: int) -> tuple[dict[str, Any], str]:
    """The driver's answer and what is wrong with it; empty: nothing."""
    try:
        driver = (await agent.ask("gpus", timeout=CALL_LIMIT))["driver"]
    except CommandFailed as exc:
        return {"code": 0, "gpus": []}, f"the GPUs cannot be tried: {exc.message}"
    if driver["error"]:
        return driver, f"{paid} GPUs were paid for and none can be used: {printable(driver['error'])}"
    bad = [f"GPU {g['index']}: {g['error']}" for g in driver["gpus"] if g["error"]]
    works = len(driver["gpus"]) - len(bad)
    if works < paid:
        why = f": {printable('; '.join(bad))}" if bad else f"; the instance has {len(driver['gpus'])}"
        return driver, f"{paid} GPUs were paid for and {works} can be used{why}"
    if works > paid:
        log.warning("the instance has %d GPUs, and %d were paid for", works, paid)
    return driver, ""


def _compare(ctx: Context, names: list[str]) -> None:
    """Say so where the GPU is not the one that was offered."""
    offered = str((ctx.row.offer or {}).get("gpu") or "")
    if not ctx.spec.resources.gpus:
        return
    for name in dict.fromkeys(names):
        if not any(same_model(model, name) for model, _ in ctx.spec.resources.gpus):
            log.warning("the instance has a %s, and the offer said %s", name, offered)


def _next_step(ctx: Context, driver: dict[str, Any]) -> str:
    name = ctx.row.name
    elsewhere = f"`gpusess terminate {name}` gives it back (it bills until then); take another region or type"
    codes = [driver.get("code"), *(gpu.get("code") for gpu in driver["gpus"])]
    if NOT_READY in codes:
        return f"a fault of this machine that a restart of it seldom cures: {elsewhere}"
    return elsewhere
