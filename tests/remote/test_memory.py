"""What an instance that lies can take of this machine's memory: no more than was asked for, and a little."""

from __future__ import annotations

import asyncio
import json
import os
import zlib
from collections.abc import AsyncIterator

import pytest

from gpusess.errors import CommandFailed, SyncError, Unreachable
from gpusess.remote import channel as channels
from gpusess.remote import process
from gpusess.remote.channel import Channel
from remote_agent.syncing import frames

from .conftest import Remote

MIB = 1 << 20


class _Liar:
    """A process in the agent's place: it says hello, and then what a test lets it say, as fast as it is read."""

    def __init__(self) -> None:
        self.stdout = asyncio.StreamReader(limit=1 << 20)
        self.stderr = asyncio.StreamReader()
        self.taken = 0

    async def write(self, data: bytes) -> None:
        pass

    def says(self, header: dict[str, object], size: int = 0) -> None:
        self.stdout.feed_data(json.dumps({**header, "n": size} if size else header).encode() + b"\n")
        self.stdout.feed_data(bytes(size))


@pytest.fixture
async def liar() -> _Liar:
    found = _Liar()
    found.says({"op": "hello", "version": frames.VERSION, "codecs": ["zlib"]})
    return found


@pytest.fixture
async def channel(liar: _Liar) -> AsyncIterator[Channel]:
    found = Channel(liar)  # type: ignore[arg-type]
    await found.start()
    reading = asyncio.create_task(found.read())
    yield found
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize(
    ("op", "size"),
    [
        ("read", frames.BLOCK_LIMIT + 1),
        ("pieces", frames.BLOCK_LIMIT + 1),
        ("list", frames.LIST_LIMIT + 1),
        ("checkpoints", frames.LIST_LIMIT + 1),
        ("check", 1),
        ("seal", 1),
    ],
)
async def test_a_frame_that_is_longer_than_its_answer_can_be(
    channel: Channel, liar: _Liar, op: str, size: int
) -> None:
    answer = await channel.send(op)
    liar.stdout.feed_data(json.dumps({"id": 1, "n": size}).encode() + b"\n")
    with pytest.raises(Unreachable, match=f"sent {size} bytes that nobody asked for"):
        await answer.next()
    assert channel.broken


@pytest.mark.parametrize("id", [7, "1", None, [1], {"a": 1}, True])
async def test_bytes_that_answer_nothing(channel: Channel, liar: _Liar, id: object) -> None:
    answer = await channel.send("echo")
    liar.stdout.feed_data(json.dumps({"id": id, "n": 1}).encode() + b"\n")
    with pytest.raises(Unreachable, match="sent 1 bytes that nobody asked for"):
        await answer.next()


async def test_frames_that_nobody_takes_wait_outside(channel: Channel, liar: _Liar) -> None:
    """Four answers of eight blocks each: what is in memory stays below the room, and all of it comes."""
    answers = [await channel.send("read") for _ in range(4)]
    for number in range(4):
        for block in range(8):
            liar.says({"id": number + 1, "i": block, "more": block < 7}, MIB)
    await asyncio.sleep(0.05)
    waiting = sum(len(data) for answer in answers for _, data in answer._frames._queue)
    assert channels.ROOM - MIB < waiting <= channels.ROOM
    answers[1].abandon()
    for answer in (answers[0], answers[2], answers[3]):
        got = [len((await asyncio.wait_for(answer.next(), 5))[1]) for _ in range(8)]
        assert got == [MIB] * 8
    assert channel._room._held == 0


async def test_a_list_that_is_longer_than_the_room_comes_too(
    channel: Channel, liar: _Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "ROOM", 1000)
    block, whole = await channel.send("read"), await channel.send("list")
    liar.says({"id": 1, "i": 0}, 900)
    liar.says({"id": 2}, 5000)
    await asyncio.sleep(0.02)
    assert len((await block.next())[1]) == 900
    assert len((await asyncio.wait_for(whole.next(), 5))[1]) == 5000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b" " * (frames.LIST_LIMIT + 1), "too long"),
        (b"[" + b"[]," * frames.ITEMS_LIMIT + b"[]]", "more than 1000000 entries"),
        (b"[" + b"{}," * frames.ITEMS_LIMIT + b"{}]", "more than 1000000 entries"),
        (b"[" * 100_000, "no JSON"),
        (b"{}", "no list"),
        (b"x", "no JSON"),
    ],
)
def test_lists_that_would_take_memory_are_refused(text: bytes, words: str) -> None:
    for codec in frames.codecs():
        with pytest.raises(frames.BadFrame, match=words):
            frames.read_list({"codec": codec}, frames.codecs()[codec][0](text))


def test_a_list_in_no_codec() -> None:
    for codec in (None, "lzma", ["zlib"], 1):
        with pytest.raises(frames.BadFrame, match="no codec"):
            frames.read_list({"codec": codec}, b"[]")
    with pytest.raises(frames.BadFrame):
        frames.read_list({"codec": "zlib"}, zlib.compress(b"[1]")[:-3])


def test_blocks_expand_to_a_block_at_most() -> None:
    for codec, (press, expand) in frames.codecs().items():
        for data in (bytes(MIB), os.urandom(MIB), b""):
            assert expand(press(data), len(data)) == data
        with pytest.raises(frames.BadFrame, match="too long"):
            expand(press(bytes(MIB + 1)), MIB)
        assert codec == "none" or len(press(bytes(64 * MIB))) < MIB


async def test_hellos_that_make_no_sense() -> None:
    for header in ({"op": "hello"}, {"op": "hello", "version": 99}, {}):
        process = _Liar()
        process.says(header)
        with pytest.raises(SyncError, match="another version"):
            await Channel(process).start()  # type: ignore[arg-type]
    process = _Liar()
    process.says({"op": "hello", "version": frames.VERSION, "codecs": 5})
    channel = Channel(process)  # type: ignore[arg-type]
    await channel.start()
    assert channel.codec == "none"


async def test_a_command_that_talks_without_end(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OUTPUT_LIMIT", 2 * MIB)
    for command in ("yes", "yes >&2"):
        with pytest.raises(CommandFailed, match="said more than 2 MiB"):
            await remote.connection.run(command, timeout=20)
    assert (await remote.connection.run("head -c 1000000 /dev/zero")).stdout == bytes(1_000_000)
