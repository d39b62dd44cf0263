"""The link to a session's instance: one connection, opened with the pinned host key and opened again when it
breaks. While the provider says that the instance is there, trying does not end; once it is gone, it does.
"""

from __future__ import annotations

import random
from pathlib import Path

from gpusess.errors import HostKeyMismatch, ProviderError, RemoteError, Unreachable
from gpusess.providers.base import Endpoint, HostKey, Instance, InstanceStatus, OwnMachines, Provider
from gpusess.remote.agent import Agent
from gpusess.remote.ssh import Connection, Target, backoff, connect
from gpusess.sessions import host_keys, renting
from gpusess.sessions.context import Context, link_log, log
from gpusess.sessions.store import SessionRow

FIRST_CONTACT_LIMIT = 15 * 60.0
HOST_KEY_LIMIT = 3 * 60.0
"""While an instance boots, the image's own key may answer before ours is in place: nothing is sent then."""
CONNECT_TIMEOUT = 15.0


class InstanceGone(RemoteError):
    """The provider says that the instance is not there any more."""

    preempted = False
    """It was taken away, as spot instances are."""


class GaveUp(Unreachable):
    """What was waited for did not come in its time: trying again is the user's decision."""


class Link:
    """Gives a live connection and the agent on it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._connection: Connection | None = None
        self._agent: Agent | None = None

    async def connection(self, patience: float | None = None) -> Connection:
        """The live connection; a new one where it broke.

        Raises InstanceGone, HostKeyMismatch, RemoteError (the login was refused), and GaveUp after `patience`
        seconds (None: never). Whoever uses the connection may see Unreachable: that link broke.
        """
        if self._connection is None or self._connection.closed:
            self._agent = None
            self._connection = await self._connect(patience)
        return self._connection

    async def agent(self, patience: float | None = None) -> Agent:
        """The agent on the live connection, brought there if need be, in the environment chosen before."""
        connection = await self.connection(patience)
        if self._agent is None:
            agent = Agent(connection, self._ctx.say)
            await agent.install()
            python = self._ctx.row.options.get("python")
            if python:
                await agent.use_python(python)
            self._agent = agent
        return self._agent

    @property
    def live(self) -> Connection | None:
        """The connection where there is one now."""
        alive = self._connection is not None and not self._connection.closed
        return self._connection if alive else None

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def broken(self) -> None:
        """The caller has seen the link fail: do not use this connection again."""
        if self._connection is not None:
            self._connection.abort()  # It may come back to life, and then nobody would ever close it.
            self._connection = None

    async def _connect(self, patience: float | None) -> Connection:
        ctx = self._ctx
        waited = 0.0
        for pause in backoff(random.Random()):
            began = ctx.clock()
            try:
                target = await session_target(ctx)
                connection = await connect(target, CONNECT_TIMEOUT)
            except HostKeyMismatch as exc:
                if waited > HOST_KEY_LIMIT or ctx.provider.abilities.host_key is HostKey.OWN:
                    raise
                trouble = exc.message
            except Unreachable as exc:
                trouble = exc.message
            else:
                where = f"{target.endpoint.host}:{target.endpoint.port}"
                link_log.info("connected to %s in %.1f s", where, max(0.0, ctx.clock() - began))
                return connection
            await self._still_there()
            # A try counts for no more than it may take: hours that a laptop slept away were no trying.
            waited += min(max(0.0, ctx.clock() - began), CONNECT_TIMEOUT)
            if patience is not None and waited > patience:
                raise GaveUp(f"{trouble} (tried for {waited:.0f} s)", "`gpusess resume` tries again")
            ctx.say(f"{trouble}; trying again in {pause:.0f} s", link_log)
            await ctx.sleep(pause)
            waited += pause
        raise AssertionError("backoff never ends")

    async def _still_there(self) -> None:
        """Ask the provider. Where it cannot be asked (no network), nothing is known, and so nothing ends."""
        try:
            instance = await renting.look(self._ctx)
        except ProviderError as exc:
            log.warning("cannot ask %s: %s", self._ctx.provider.name, exc.message)
            return
        if instance is None or instance.status not in (InstanceStatus.RUNNING, InstanceStatus.BOOTING):
            raise _gone(self._ctx, instance)


def _gone(ctx: Context, instance: Instance | None) -> InstanceGone:
    """The loss, with its reason. A spot instance that vanishes was taken away, whatever word is used."""
    taken = instance is not None and instance.status is InstanceStatus.PREEMPTED
    reason = f": {instance.reason}" if instance and instance.reason else ""
    spot = bool((ctx.row.offer or {}).get("spot"))
    verb = "was taken away" if taken or spot else "is gone"
    loss = InstanceGone(
        f"the instance {verb}{reason}", "`gpusess resume` goes on with what is missing on a new one"
    )
    loss.preempted = taken or spot
    return loss


async def session_target(ctx: Context) -> Target:
    """Whom to connect to and what proves who that is. Raises as `host_keys.learn` does."""
    row = ctx.row
    if row.endpoint is None or row.instance_id is None:
        raise RemoteError("this session has no instance yet", "`gpusess status` shows where it is")
    if ctx.provider.abilities.host_key is HostKey.OWN:
        return await own_target(ctx.provider, row)
    await host_keys.learn(ctx, Endpoint(**row.endpoint))
    return rented_target(ctx, row)


def rented_target(ctx: Context, row: SessionRow) -> Target:
    """A rented instance, with the key that is pinned for it."""
    assert row.endpoint is not None
    return Target(Endpoint(**row.endpoint), host_keys.pinned(ctx), [ctx.folder / "client_key"])


async def own_target(provider: Provider, row: SessionRow) -> Target:
    """A machine of the user's own, with what the user's known_hosts say."""
    assert isinstance(provider, OwnMachines)
    assert row.endpoint is not None
    endpoint, id = Endpoint(**row.endpoint), row.instance_id or ""
    instance = Instance(id, row.launch_name or "", InstanceStatus.RUNNING, endpoint, row.price)
    keys = await provider.known_host_keys(instance)
    identities: tuple[Path, ...] = provider.client_keys(id)
    return Target(endpoint, keys, identities, user_config=True)
