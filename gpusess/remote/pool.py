"""The channels of one sync: the first over the session's connection, more over connections of their own.

One TCP connection fills a short line but not a long one: one window goes out in each round trip, and a lost
packet holds back all that is behind it. How many are worth their opening depends on the round trip.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack

from gpusess.errors import RemoteError, Unreachable
from gpusess.remote.channel import FAR, NEAR, Channel, open_channel
from gpusess.remote.ssh import Connection, connect
from remote_agent.syncing.memory import keep_freed

MOST = 8
PAYS = 4 << 20
"""Bytes for each connection from which on opening it pays."""


class Pool:
    """Opens channels when they are wanted and keeps them until `close`."""

    def __init__(self, connection: Connection, command: str) -> None:
        keep_freed()
        self._connection = connection
        self._command = command
        self._stack = AsyncExitStack()
        self._channels: dict[int, Channel] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def channel(self, number: int) -> Channel:
        """The channel with that number, opened where it is not open. 0 goes over the session's connection,
        each other one over a connection of its own. Raises Unreachable, RemoteError, SyncError."""
        async with self._locks[number]:
            found = self._channels.get(number)
            if found is None or found.broken:
                connection = self._connection if number == 0 else await self._connect()
                like = self._channels.get(0) if number else None
                found = await self._stack.enter_async_context(open_channel(connection, self._command, like))
                self._channels[number] = found
            return found

    async def _connect(self) -> Connection:
        try:
            return await self._stack.enter_async_context(await connect(self._connection.target))
        except RemoteError as exc:  # the server grants no more of them: those that there are will do
            raise Unreachable(exc.message) from exc

    def wanted(self, size: int) -> int:
        """How many channels so many bytes are worth."""
        trip = self._channels[0].round_trip if 0 in self._channels else 0.0
        most = 1 if trip < NEAR else MOST if trip >= FAR else MOST // 2
        return max(1, min(most, size // PAYS))

    async def close(self) -> None:
        await self._stack.aclose()

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
