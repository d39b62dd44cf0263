"""Keeping a run's checkpoints at home: each is pulled as it becomes whole, over a connection of its own, so
that the journal's stream is not disturbed. What the spec's rule does not keep is removed here, and a new
instance gets the newest good one back. How one comes home is `gpusess.sync.checkpoints`' part.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gpusess.errors import RemoteError, SyncError, Unreachable
from gpusess.remote.agent import Agent, run_folder
from gpusess.remote.pool import Pool
from gpusess.remote.ssh import backoff, connect
from gpusess.sessions import traffic
from gpusess.sessions.context import Context, log
from gpusess.sessions.link import CONNECT_TIMEOUT, session_target
from gpusess.sync import checkpoints as sync
from gpusess.sync.progress import Progress
from remote_agent.checkpoints import keep, newest_good
from remote_agent.manifest import Checkpoint, wanted

REFUSED_PAUSE = 60.0
"""Seconds before a checkpoint is asked for again that could not be taken."""

Tell = Callable[[Checkpoint, Progress], None]


class Keeper:
    """The checkpoints of one run. `home`: the run's folder here."""

    def __init__(self, ctx: Context, run: str, home: Path) -> None:
        self._ctx = ctx
        self._run = run
        self._home = home
        self._rule = ctx.spec.sync.checkpoints
        self._news = asyncio.Event()
        self._agent: Agent | None = None
        traffic.forget_coming(home)

    @property
    def rule(self) -> str:
        """What the spec wants of them: `the newest 2 and the best`, `none`."""
        wants = [f"the newest {self._rule.keep}"] if self._rule.keep else []
        return " and ".join([*wants, *(["the best"] if self._rule.best else [])]) or "none"

    def notice(self, agent: Agent) -> None:
        """Something may be there that is not at home. `agent` says how its program is run."""
        self._agent = agent
        self._news.set()

    async def keep_up(self) -> None:
        """Bring each checkpoint home soon after it is whole, until cancelled. What goes wrong is said and
        tried again: the run and its journal do not depend on it."""
        pauses = backoff(random.Random())
        while True:
            await self._news.wait()
            self._news.clear()
            assert self._agent is not None
            try:
                await self.bring(self._agent)
                pauses = backoff(random.Random())
                continue
            except Unreachable as exc:
                log.debug("checkpoints: %s", exc.message)
                pause = next(pauses)
            except (RemoteError, SyncError) as exc:
                log.warning("checkpoints: %s (%s)", exc.message, exc.hint)
                pause = REFUSED_PAUSE
            except Exception:  # noqa: BLE001 (whatever it is: it must not end unseen)
                log.exception("checkpoints are not brought home")
                pause = REFUSED_PAUSE
            self._news.set()
            await self._ctx.sleep(pause)

    async def bring(self, agent: Agent, tell: Tell | None = None) -> list[Checkpoint]:
        """Bring home what the rule wants, the newest first, and remove what it does not keep; what it leaves
        on the instance. `tell` is called as bytes come.

        Raises Unreachable, RemoteError, SyncError.
        """
        async with self._channels(agent) as channels:
            while True:
                there = await sync.listing(channels, run_folder(self._run))
                await asyncio.to_thread(sync.refresh_scores, self._home, there)
                sync.drop_stale(self._home, there)
                if not self._rule.keep and not self._rule.best:
                    return there
                waiting = sync.missing(self._home, there, self._rule.keep, self._rule.best)
                if not waiting:
                    kept = wanted(there, self._rule.keep, self._rule.best)
                    return [made for made in there if made not in kept]
                # After each one the list is asked for again: a newer one may be more wanted by now.
                await self._bring_one(channels, waiting[0], tell)
                for name in await asyncio.to_thread(keep, self._home, self._rule.keep, self._rule.best):
                    log.info("checkpoint %s is no longer kept at home", name)

    async def _bring_one(self, channels: Pool, made: Checkpoint, tell: Tell | None) -> None:
        with traffic.coming(self._home, self._run, made.name, made.step) as note:

            def heard(progress: Progress) -> None:
                note(progress)
                if tell:
                    tell(made, progress)

            pulled = await sync.pull(channels, run_folder(self._run), made, self._home, Progress(heard))
        log.info("%s", pulled)
        amounts = (made.bytes, pulled.received, round(pulled.seconds, 3), pulled.how)
        try:
            traffic.note(
                self._ctx.id,
                traffic.Received(round(time.time(), 3), self._run, made.name, made.step, *amounts),
            )
        except OSError as exc:
            log.warning("what came home is not noted: %s", exc)

    async def give_back(self, agent: Agent) -> None:
        """Send the newest good checkpoint to an instance that has none as new: a run goes on from there.

        Raises Unreachable, RemoteError, SyncError.
        """
        made, refused = await asyncio.to_thread(newest_good, self._home)
        for why in refused:
            log.warning("a checkpoint at home is damaged: %s", why)
        if made is None:
            return
        async with self._channels(agent) as channels:
            there = await sync.listing(channels, run_folder(self._run))
            if there and there[-1].step >= made.step:
                return
            self._ctx.say(f"giving the instance the checkpoint {made.name} that is at home")
            await sync.give(channels, run_folder(self._run), made.name, self._home)

    @asynccontextmanager
    async def _channels(self, agent: Agent) -> AsyncIterator[Pool]:
        connection = await connect(await session_target(self._ctx), CONNECT_TIMEOUT)
        async with connection, Pool(connection, agent.command("sync")) as pool:
            yield pool
