"""What syncing needs of whoever moves the bytes: requests with answers, over one channel or several.

`gpusess.remote` has both; this package does not know it.
"""

from __future__ import annotations

from typing import Any, Protocol

Frame = tuple[dict[str, Any], bytes]


class Answer(Protocol):
    async def next(self) -> Frame:
        """The next frame of the answer. Raises SyncError (it was refused), Unreachable."""

    def ready(self) -> list[Frame]:
        """The frames that are here already."""

    def abandon(self) -> None:
        """Give up the rest of it."""


class Channel(Protocol):
    """One way to the agent's `sync`."""

    codec: str
    """For payloads, known to both sides."""

    async def ask(self, op: str, payload: bytes = b"", **facts: Any) -> Frame: ...
    async def send(self, op: str, payload: bytes = b"", **facts: Any) -> Answer: ...


class Channels(Protocol):
    """Several of them to the same instance."""

    def wanted(self, size: int) -> int:
        """How many channels so many bytes are worth."""

    async def channel(self, number: int) -> Channel:
        """The channel with that number, opened where it is not; 0 is the one for everything but bulk.

        Raises Unreachable where there can be no more, SyncError.
        """
