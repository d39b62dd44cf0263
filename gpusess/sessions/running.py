"""Seeing a run through from here: start it on the instance, follow it, notice its end, bring the rest home.

The run itself needs nobody here: it goes on while the link is broken and while this process is dead.
"""

from __future__ import annotations

import asyncio
import time

from gpusess import paths
from gpusess.analysis.text import clean
from gpusess.errors import RemoteError, Unreachable
from gpusess.remote.agent import Agent
from gpusess.remote.follow import Diverged, Mirror, follow
from gpusess.sessions import code_facts, steering
from gpusess.sessions.checkpoints import Keeper
from gpusess.sessions.context import Context, log
from gpusess.sessions.link import GaveUp, Link
from gpusess.sessions.mirror import RunMirror
from gpusess.sessions.preparing import give_order
from gpusess.sessions.store import RunRow
from gpusess.sessions.syncing import SAID_EVERY, progress_line
from gpusess.sync.progress import Progress as Transfer
from remote_agent.files import EVENTS, JOURNALS, LOGS
from remote_agent.manifest import Checkpoint

SUPERVISOR_SILENCE = 12.0
"""Seconds without a byte of a run after which it is asked whether its supervisor lives; heartbeats come every
2 s."""
SUPERVISOR_RESTARTS = 3
SYNC_EVERY = 5.0
"""Seconds between making the mirror durable on this disk."""
LOOK_EVERY = 1.0
FOLD_SLICE = 1 << 20
"""Bytes that are folded before other tasks have their turn."""
DRAIN_LIMIT = 120.0
"""Seconds without a new byte after which bringing the rest home is given up. While bytes come it goes on,
however many there are."""

CHECKPOINT_LIMIT = 600.0
"""The same for checkpoints: between two files this disk may be busy with hashing or syncing gigabytes."""


LISTED = 5
"""Checkpoints that are named where many stay on the instance."""


class RunFollower:
    """One run, followed until it has ended and all of it is at home."""

    def __init__(self, ctx: Context, link: Link, run: RunRow) -> None:
        self._ctx = ctx
        self._link = link
        self._run = run
        self.mirror = Mirror(paths.run_dir(ctx.id, run.id))
        self.view = RunMirror(self.mirror.folder)
        self._keeper = Keeper(ctx, run.id, self.mirror.folder)
        self._heard = time.monotonic()
        self._synced = time.monotonic()
        self._restarts = 0
        self._mended = False
        self._before = 0
        """Bytes of events that were there before this start: an end that they tell of is an earlier one's."""

    async def start(self, env: dict[str, str]) -> None:
        """Start the run, or find it running. A new instance gets what an earlier one had written."""
        agent = await self._link.agent()
        await give_order(self._ctx, agent, self._run)
        supervisor, lengths = await agent.lengths(self._run.id)
        if supervisor is None:
            steering.forget(self._ctx.store, self._ctx.id, self._run.id)
            await self._restore(agent, lengths)
            await self._keeper.give_back(agent)
        self._before = lengths[EVENTS]
        await agent.start(self._run.id, env)

    async def until_ended(self, env: dict[str, str]) -> None:
        """Follow through broken links and dead supervisors until the supervisor's last word is here."""
        self.view.refresh()
        keeping = asyncio.create_task(self._keeper.keep_up())
        try:
            while not self._has_ended():
                await self._follow_once(env)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        await self.pull_rest()

    async def _follow_once(self, env: dict[str, str]) -> None:
        if self.view.damage:
            self._mend()
        try:
            await self._follow_until_something(await self._link.agent(), env)
        except Unreachable as exc:
            log.warning("%s; connecting again", exc.message)
            self._link.broken()
        except Diverged as exc:
            self._begin_anew(exc.message)

    async def pull_rest(self) -> None:
        """Bring home what is missing, and make it durable. Returns when the mirror is the whole original, and
        the checkpoints that the spec asks for are here."""
        agent = await self._link.agent(patience=60.0)
        try:
            await self._pull_journals(agent)
        except Diverged as exc:
            self._begin_anew(exc.message)
            await self._pull_journals(agent)
        if self.view.damage:
            self._mend()
            await self._pull_journals(agent)
        if self.view.damage:
            self._mend()
        try:
            code_facts.trace(self._ctx.folder, self.mirror.folder, self.view.state.codes)
        except OSError as exc:
            log.warning("which code the run had is not noted beside its results: %s", exc)
        if await agent.has_checkpoints(self._run.id):
            moved = Progress(CHECKPOINT_LIMIT)
            await _first(self._pull_checkpoints(agent, moved), asyncio.Event(), moved)

    async def _pull_checkpoints(self, agent: Agent, moved: Progress) -> None:
        said = time.monotonic()

        def tell(made: Checkpoint, progress: Transfer) -> None:
            nonlocal said
            moved.seen()
            if time.monotonic() - said >= SAID_EVERY:
                said = time.monotonic()
                self._ctx.say(f"bringing home {progress_line(f'checkpoint {made.name}', progress)}")

        left = await self._keeper.bring(agent, tell)
        if left:
            names = ", ".join(clean(made.name, 100) for made in left[-LISTED:])
            more = f" and {len(left) - LISTED} older ones" if len(left) > LISTED else ""
            log.info("checkpoints that stay there (the spec wants %s): %s%s", self._keeper.rule, names, more)

    async def _pull_journals(self, agent: Agent) -> None:
        _, lengths = await agent.lengths(self._run.id)
        done, moved = asyncio.Event(), Progress(DRAIN_LIMIT)

        def check() -> None:
            moved.seen()
            if all(self.mirror.length(name) >= length for name, length in lengths.items()):
                done.set()

        check()
        if not done.is_set():
            connection = await self._link.connection()
            await _first(follow(connection, agent, self._run.id, self.mirror, check), done, moved)
        self.mirror.sync()
        while self.view.refresh(FOLD_SLICE):
            await asyncio.sleep(0)  # The link's keepalives and the user's requests have their turn.

    def _mend(self) -> None:
        """A line of the copy at home is damaged: fetch it anew, once. Raises RemoteError the second time."""
        if self._mended:
            raise RemoteError(self.view.damage, "the original is on the instance: do not terminate it yet")
        self._mended = True
        self._begin_anew(self.view.damage)

    def _begin_anew(self, why: str) -> None:
        aside = self.mirror.set_aside()
        self.view = RunMirror(self.mirror.folder)
        log.error("the copy at home is not what the instance has (%s); it is kept in %s", why, aside)

    def close(self) -> None:
        self.mirror.close()

    def _has_ended(self) -> bool:
        """Whether the last word is here of the supervisor that was started, or found, by `start`."""
        return self.view.state.ended is not None and self.view.folded(EVENTS) > self._before

    async def _follow_until_something(self, agent: Agent, env: dict[str, str]) -> None:
        """Follow until the run has ended or has been silent for too long."""
        connection = await self._link.connection()
        something = asyncio.Event()
        self._heard = time.monotonic()

        def heard() -> None:
            self._heard = time.monotonic()
            self.view.refresh(FOLD_SLICE)
            if self._has_ended() or self.view.damage:
                something.set()
            if self._heard - self._synced > SYNC_EVERY:
                self._synced = self._heard
                self.mirror.sync()

        watch = asyncio.create_task(self._watch_silence(something))
        try:
            following = follow(
                connection, agent, self._run.id, self.mirror, heard, lambda: self._keeper.notice(agent)
            )
            await _first(following, something, None)
        finally:
            watch.cancel()
        if not self._has_ended() and not self.view.damage:
            await self._revive_supervisor(agent, env)

    async def _watch_silence(self, something: asyncio.Event) -> None:
        while time.monotonic() - self._heard < SUPERVISOR_SILENCE:
            await asyncio.sleep(1.0)
        something.set()

    async def _revive_supervisor(self, agent: Agent, env: dict[str, str]) -> None:
        supervisor, _ = await agent.lengths(self._run.id)
        if supervisor is not None:
            return
        if self._restarts >= SUPERVISOR_RESTARTS:
            raise RemoteError(
                f"the supervisor of {self._run.name} died {self._restarts + 1} times",
                "`gpusess logs` shows its last words; `gpusess resume` tries again",
            )
        self._restarts += 1
        log.warning("the run's supervisor is gone; starting it again")
        steering.forget(self._ctx.store, self._ctx.id, self._run.id)
        await agent.start(self._run.id, env)

    async def _restore(self, agent: Agent, lengths: dict[str, int]) -> None:
        """Bring what the instance has nothing of, logs too: each copy must stay the original's beginning.

        `lengths` are the instance's, and are kept true.
        """
        missing = [name for name in JOURNALS + LOGS if not lengths[name]]
        self.mirror.cut_partial_lines(missing)
        for name in missing:
            length = self.mirror.length(name)
            if length:
                self._ctx.say(f"giving the instance the {length} bytes of {name} that are at home")
                await agent.put_file(self._run.id, name, self.mirror.content(name))
                lengths[name] = length


class Progress:
    """Whether something still comes. Silence is counted in looks of a second, not read off a clock: hours
    that a laptop slept away are no silence."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._silent = 0

    def seen(self) -> None:
        self._silent = 0

    def look(self) -> None:
        """To be called each second. Raises GaveUp after `limit` of them without a `seen`."""
        self._silent += 1
        if self._silent > self._limit:
            raise GaveUp(f"nothing more came for {self._limit:.0f} s", "`gpusess pull` tries again")


async def _first(coroutine: object, event: asyncio.Event, progress: Progress | None) -> None:
    """Run a coroutine until it fails, or the event is set, or nothing comes any more (GaveUp)."""
    task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
    waiting = asyncio.create_task(event.wait())
    try:
        done: set[asyncio.Task[object]] = set()
        while not done:
            done, _ = await asyncio.wait(
                {task, waiting}, timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED
            )
            if progress and not done:
                progress.look()
        if task in done:
            task.result()
    finally:
        for pending in (task, waiting):
            pending.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
