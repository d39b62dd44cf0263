"""The link to a session's instance: one connection, opened with the pinned host key and opened again when it
breaks. While the provider says that the instance is there, trying does not end; once it is gone, it does.
"""

from __future__ import annotations

import random
from pathlib import Path

from gpusess.errors import HostKeyMismatch, ProviderError, RemoteError, Unreachable
from gpusess.providers.base import Endpoint, HostKey, Instance, InstanceStatus, OwnMachines
from gpusess.remote.agent import Agent
from gpusess.remote.ssh import Connection, Target, backoff, connect
from gpusess.sessions import renting
from gpusess.sessions.context import Context, log

FIRST_CONTACT_LIMIT = 15 * 60.0
HOST_KEY_LIMIT = 3 * 60.0
"""While an instance boots, the image's own key may answer before ours is in place: nothing is sent then."""
CONNECT_TIMEOUT = 15.0


class InstanceGone(RemoteError):
    """The provider says that the instance is not there any more."""


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

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def broken(self) -> None:
        """The caller has seen the link fail: do not use this connection again."""
        self._connection = None

    async def _connect(self, patience: float | None) -> Connection:
        ctx = self._ctx
        target = await session_target(ctx)
        started = ctx.clock()
        for pause in backoff(random.Random()):
            try:
                return await connect(target, CONNECT_TIMEOUT)
            except HostKeyMismatch as exc:
                if ctx.clock() - started > HOST_KEY_LIMIT or ctx.provider.abilities.host_key is HostKey.OWN:
                    raise
                trouble = exc.message
            except Unreachable as exc:
                trouble = exc.message
            await self._still_there()
            waited = ctx.clock() - started
            if patience is not None and waited > patience:
                raise GaveUp(f"{trouble} (tried for {waited:.0f} s)", "`gpusess resume` tries again")
            ctx.say(f"{trouble}; trying again in {pause:.0f} s")
            await ctx.sleep(pause)
        raise AssertionError("backoff never ends")

    async def _still_there(self) -> None:
        """Ask the provider. Where it cannot be asked (no network), nothing is known, and so nothing ends."""
        try:
            instance = await renting.look(self._ctx)
        except ProviderError as exc:
            log.warning("cannot ask %s: %s", self._ctx.provider.name, exc.message)
            return
        if instance is None or instance.status not in (InstanceStatus.RUNNING, InstanceStatus.BOOTING):
            reason = f": {instance.reason}" if instance and instance.reason else ""
            raise InstanceGone(
                f"the instance is gone{reason}", "`gpusess resume` goes on with what is missing on a new one"
            )


async def session_target(ctx: Context) -> Target:
    """Whom to connect to and what proves who that is."""
    row = ctx.row
    if row.endpoint is None or row.instance_id is None:
        raise RemoteError("this session has no instance yet", "`gpusess status` shows where it is")
    endpoint = Endpoint(**row.endpoint)
    if ctx.provider.abilities.host_key is not HostKey.OWN:
        pinned = (ctx.folder / "host_key.pub").read_text().strip()
        return Target(endpoint, [pinned], [ctx.folder / "client_key"])
    assert isinstance(ctx.provider, OwnMachines)
    instance = Instance(row.instance_id, row.launch_name or "", InstanceStatus.RUNNING, endpoint, row.price)
    keys = await ctx.provider.known_host_keys(instance)
    identities: tuple[Path, ...] = ctx.provider.client_keys(row.instance_id)
    return Target(endpoint, keys, identities, user_config=True)
