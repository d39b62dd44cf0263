"""The driver: the one process that takes a session from state to state until it has ended.

Each step may be begun again: it looks at what is there before it does anything. So a driver that was killed
is replaced by starting another, and nothing but the store, the provider and the instance says where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gpusess.errors import GpusessError, SessionError, Unreachable
from gpusess.secrets import resolve_secrets
from gpusess.sessions import giving_back, lease, money, readiness, reconcile, renting
from gpusess.sessions.asks import STEER
from gpusess.sessions.context import Context, link_log, log
from gpusess.sessions.link import FIRST_CONTACT_LIMIT, GaveUp, InstanceGone, Link
from gpusess.sessions.preparing import prepare
from gpusess.sessions.running import RunFollower
from gpusess.sessions.states import State
from gpusess.sessions.steering import pass_on
from gpusess.sessions.store import Request, RunRow

LOOK_EVERY = 0.5
"""Seconds between looks at requests and at the budget."""

DRAIN_PATIENCE = 60.0
"""Seconds to try to reach the instance before its end; then the user is asked."""

ACCOUNT_EVERY = 300.0
"""Seconds between looks at all that the account has: instances that nobody knows are to be known soon."""

UNKNOWN_WORK = 4 * 3600.0
"""Seconds that a run is taken to last before anything is known of its pace."""

RECONNECT_PAUSE = 1.0
"""Seconds before a step whose link broke is begun again."""

_UNSTOPPABLE = {State.REQUESTED, State.LAUNCHING, State.TERMINATING}
"""A call that costs or ends money is always seen through to its answer."""


class Driver:
    """Drives one session. The caller holds the session's DriverLock."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._link = Link(ctx)
        self._follower: RunFollower | None = None
        """The run that is followed now."""
        self._why = ""
        """Why the session is being ended, where it was not simply done."""
        self._steps: dict[State, Callable[[], Awaitable[None]]] = {
            State.REQUESTED: self._launch,
            State.LAUNCHING: self._launch,
            State.BOOTING: self._boot,
            State.CONNECTING: self._connect,
            State.PREPARING: self._prepare,
            State.READY: self._next_run,
            State.RUNNING: self._next_run,
            State.DRAINING: self._drain,
            State.TERMINATING: self._terminate,
        }

    async def drive(self, resume: bool = False) -> State:
        """Go on until the session has ended, has failed, or is to be kept; returns its state then."""
        ctx = self._ctx
        works = (self._watch_account(), lease.keep_word(ctx, self._link, self._work_left))
        beside = [asyncio.ensure_future(_logged(work)) for work in works]
        try:
            if resume and ctx.row.state in (State.FAILED, State.TERMINATED):
                await self._guarded(lambda: renting.revive(ctx))
            while True:
                request = self._request()
                if request:
                    await self._guarded(lambda r=request: self._obey(r))  # type: ignore[misc]
                    continue
                step = self._steps.get(ctx.row.state)
                if step is None:
                    return ctx.row.state
                await self._guarded(lambda s=step: self._until_asked(s))  # type: ignore[misc]
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._link.close()
            await ctx.close()

    def _work_left(self) -> float:
        """Seconds that the runs are still expected to take; what is not known is taken for long."""
        waiting = sum(run.status == "pending" for run in self._ctx.store.runs(self._ctx.id))
        running = self._follower.view.state.eta if self._follower else 0.0
        return (UNKNOWN_WORK if running is None else 2 * running) + waiting * UNKNOWN_WORK

    async def _watch_account(self) -> None:
        """Write down what the provider lists: unknown instances are shown from that."""
        while True:
            await asyncio.sleep(ACCOUNT_EVERY)
            await reconcile.look(self._ctx.store, self._ctx.provider, self._ctx.clock)

    async def _guarded(self, action: Callable[[], Awaitable[None]]) -> None:
        """An error ends in a clear state: what failed, what to do next, and whether it still bills.

        A link that broke on the way is no error: the caller begins the step again, over a new one.
        """
        ctx = self._ctx
        try:
            await self._unless_the_link_breaks(action)
        except InstanceGone as exc:
            self._link.broken()
            log.error("%s", exc.message)
            await self._after_the_loss(exc)
        except GpusessError as exc:
            log.error("%s (%s)", exc.message, exc.hint)
            ctx.move(State.FAILED, exc.message, error=exc.message, hint=exc.hint)
        except Exception as exc:  # noqa: BLE001 (whatever it is: the session must not vanish silently)
            log.exception("the driver failed")
            message = f"unexpected: {type(exc).__name__}: {exc}"
            hint = "`gpusess logs` has the traceback; `gpusess resume` tries again"
            ctx.move(State.FAILED, message, error=message, hint=hint)

    async def _after_the_loss(self, loss: InstanceGone) -> None:
        """Give back what is left of a lost instance; go on elsewhere where the spec says so, else fail."""
        ctx = self._ctx
        message, hint = loss.message, loss.hint
        try:
            await giving_back.give_back(ctx)
            if loss.preempted and ctx.spec.resources.on_preemption == "resume":
                log.warning("going on on another instance, as the spec says")
                ctx.move(State.FAILED, message)
                await renting.revive(ctx)
                return
        except GpusessError as exc:
            log.error("%s (%s)", exc.message, exc.hint)
            message, hint = f"{message}; {exc.message}", exc.hint
        ctx.move(State.FAILED, message, error=message, hint=hint)

    async def _unless_the_link_breaks(self, action: Callable[[], Awaitable[None]]) -> bool:
        """Whether the action came to its end. Raises GaveUp, and whatever else it raises."""
        try:
            await action()
        except GaveUp:
            raise
        except Unreachable as exc:
            link_log.warning("%s; connecting again", exc.message)
            self._link.broken()
            await self._ctx.sleep(RECONNECT_PAUSE)
            return False
        return True

    # --- requests and limits ---

    async def _until_asked(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step, and give it up when the user asks for something else or a limit is reached."""
        if self._ctx.row.state in _UNSTOPPABLE:
            await step()
            return
        task = asyncio.ensure_future(step())
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK_EVERY)
                self._enforce_limits()
                await pass_on(self._ctx, self._link)
                if self._request():
                    return
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _request(self) -> Request | None:
        """The oldest request that ends the present step: steering does not."""
        waiting = self._ctx.store.open_requests(self._ctx.id)
        return next((request for request in waiting if request.verb != STEER), None)

    def _enforce_limits(self) -> None:
        """A spent budget or a run-out time asks for the end like a user does: results first."""
        ctx, wanted = self._ctx, self._ctx.spec.resources
        row, now = ctx.row, ctx.clock()
        why = ""
        if wanted.budget is not None and money.spent(ctx.ledger.rentals(ctx.id), now) >= wanted.budget:
            why = f"the budget of ${wanted.budget:.2f} is spent"
        if wanted.max_hours is not None and row.launched and now - row.launched >= wanted.max_hours * 3600:
            why = f"max_hours ({wanted.max_hours:g}) are over"
        if why and row.state not in (State.DRAINING, State.TERMINATING) and not self._request():
            log.warning("%s: bringing the results home and giving the instance back", why)
            ctx.store.ask(ctx.id, "terminate", pull=True, why=why)

    async def _obey(self, request: Request) -> None:
        ctx = self._ctx
        ctx.store.take_request(request.id)
        if request.verb == "terminate":
            await self._obey_terminate(bool(request.args.get("pull")), request.args.get("why", ""))
        elif request.verb == "stop_run":
            while not await self._unless_the_link_breaks(lambda: self._stop(request.args["run"])):
                pass
            ctx.store.update_run(request.args["run"], status="stopped", ended=ctx.clock())
        elif request.verb == "take_up":
            ctx.read_spec()  # the next step finds the run that was added
        else:
            raise SessionError(f"unknown request '{request.verb}'")

    async def _obey_terminate(self, pull: bool, why: str) -> None:
        ctx = self._ctx
        row, runs = ctx.row, ctx.store.runs(ctx.id)
        self._why = why
        if row.state is State.TERMINATED:
            return
        reachable = row.endpoint is not None and row.ended is None
        drain = pull and reachable and any(run.started for run in runs)
        for run in runs:
            if run.status == "pending" or (run.status == "running" and not drain):
                detail = why or "the session was terminated first"
                ctx.store.update_run(run.id, status="stopped", detail=detail)
        ctx.move(State.DRAINING if drain else State.TERMINATING, why)

    # --- steps ---

    async def _launch(self) -> None:
        self._secrets()  # what is missing is said before money is spent
        await renting.launch(self._ctx)

    async def _boot(self) -> None:
        await renting.boot(self._ctx)

    async def _connect(self) -> None:
        agent = await self._link.agent(patience=FIRST_CONTACT_LIMIT)
        # The watch comes first: whatever fails after this, the instance ends when nobody looks after it.
        await lease.start_watch(self._ctx, agent)
        await readiness.check_gpus(self._ctx, agent)
        self._ctx.move(State.PREPARING)

    async def _prepare(self) -> None:
        ctx = self._ctx
        agent = await self._link.agent()
        await prepare(ctx, agent, self._secrets())
        await readiness.check_torch(ctx, agent)
        ctx.move(State.READY)

    async def _next_run(self) -> None:
        """Run what is waiting; when all is done, end the session or keep it, as the spec says."""
        ctx = self._ctx
        waiting = [r for r in ctx.store.runs(ctx.id) if r.status in ("running", "pending")]
        if waiting:
            await self._run(waiting[0])
        elif ctx.spec.after == "terminate":
            ctx.move(State.DRAINING)
        else:
            ctx.move(State.READY, "kept, as the spec says; it bills until it is terminated")
            await self._keep()

    async def _run(self, run: RunRow) -> None:
        ctx = self._ctx
        follower = self._follower = RunFollower(ctx, self._link, run)
        env = {**ctx.spec.env, **self._secrets()}
        try:
            ctx.store.update_run(
                run.id, status="running", detail="", started=run.started or ctx.clock(), ended=None
            )
            ctx.move(State.RUNNING, run.name)
            await follower.start(env)
            ctx.store.update(ctx.id, detail=run.name)
            await follower.until_ended(env)
            outcome, message = follower.view.state.outcome or "failed", follower.view.state.message
            ctx.store.update_run(run.id, status=outcome, detail=message, ended=ctx.clock())
            ctx.move(State.READY, f"{run.name}: {outcome}")
            log.info("%s: %s %s", run.name, outcome, message)
        finally:
            self._follower = None
            follower.close()

    async def _keep(self) -> None:
        """Stay connected, which counts as a word from the user, until something is asked for."""
        while True:
            await (await self._link.connection()).wait_closed()
            self._link.broken()

    async def _drain(self) -> None:
        """Stop what runs and bring the rest of every run home before the instance goes."""
        ctx = self._ctx
        lost = ""
        try:
            for run in ctx.store.runs(ctx.id):
                if run.started is not None:
                    await self._bring_home(run)
        except InstanceGone as exc:
            lost = f"{exc.message}; what had not come home is lost"
            log.error("%s", lost)
        ctx.move(State.TERMINATING, lost)

    async def _bring_home(self, run: RunRow) -> None:
        if run.status == "running":
            await self._stop(run.id)
            self._ctx.store.update_run(run.id, status="stopped", detail=self._why, ended=self._ctx.clock())
        follower = RunFollower(self._ctx, self._link, run)
        try:
            await follower.pull_rest()
        finally:
            follower.close()

    async def _terminate(self) -> None:
        ctx = self._ctx
        await self._stop_on_own_machine()
        await giving_back.give_back(ctx)
        ctx.move(State.TERMINATED, f"${money.spent(ctx.ledger.rentals(ctx.id), ctx.clock()):.2f} spent")

    async def _stop_on_own_machine(self) -> None:
        """A machine that is not given back would go on computing: stop what was started there."""
        ctx = self._ctx
        if ctx.provider.abilities.rents:
            return
        for run in ctx.store.runs(ctx.id):
            if run.started is not None:
                await self._stop(run.id)

    async def _stop(self, run_id: str) -> None:
        await (await self._link.agent(patience=DRAIN_PATIENCE)).stop(run_id)

    def _secrets(self) -> dict[str, str]:
        values = resolve_secrets(self._ctx.spec.secrets)
        return {name: value.get_secret_value() for name, value in values.items()}


async def _logged(work: Awaitable[None]) -> None:
    """Work beside the session's own: its failure is told, and ends nothing."""
    try:
        await work
    except Exception:  # noqa: BLE001 (told in the log: the session goes on without it)
        log.exception("work beside the session failed")
