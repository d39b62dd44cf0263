"""Syncing over real connections: several of them, one that breaks, a server that grants no more."""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import sys
from pathlib import Path

import pytest

from gpusess.errors import SyncError, Unreachable
from gpusess.remote import pool
from gpusess.remote.pool import Pool
from gpusess.remote.ssh import Target, connect
from gpusess.sync.code import read_code
from gpusess.sync.files import read_files
from gpusess.sync.pull import pull_file
from gpusess.sync.push import push, sync
from tests.faults.relay import Relay

from .conftest import Remote
from .machine import Machine, needs_sshd

MIB = 1 << 20
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _far(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is taken for a distant one."""
    monkeypatch.setattr(pool, "NEAR", 0.0)
    monkeypatch.setattr(pool, "FAR", 0.0)


def noise(path: Path, size: int) -> Path:
    path.write_bytes(random.Random(0).randbytes(size))
    return path


def command(home: Path) -> str:
    home.mkdir(exist_ok=True)
    return f"cd {REPOSITORY} && HOME={shlex.quote(str(home))} exec {sys.executable} -m remote_agent sync"


async def test_a_large_file_over_many_connections_of_a_local_instance(remote: Remote, tmp_path: Path) -> None:
    source = noise(tmp_path / "model.pt", 40 * MIB + 3)
    async with remote.agent.channels() as channels:
        await push(read_files(source), ".gpusess/sessions/s/model.pt", channels)
        there = remote.home / ".gpusess/sessions/s/model.pt"
        assert there.read_bytes() == source.read_bytes()
        assert len(channels._channels) == 8
        await pull_file(".gpusess/sessions/s/model.pt", tmp_path / "back", channels)
        assert (tmp_path / "back").read_bytes() == source.read_bytes()


@needs_sshd
async def test_the_same_over_openssh(machine: Machine, tmp_path: Path) -> None:
    source = noise(tmp_path / "model.pt", 40 * MIB + 3)
    home = tmp_path / "instance"
    async with await connect(machine.target) as link, Pool(link, command(home)) as channels:
        await push(read_files(source), "m", channels)
        assert (home / "m").read_bytes() == source.read_bytes()
        await pull_file("m", tmp_path / "back", channels)
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        assert len(channels._channels) == 8


@needs_sshd
async def test_a_connection_that_breaks_costs_nothing_but_time(
    machine: Machine,
    tmp_path: Path,
) -> None:
    """The first connection is direct, the others go through a relay, which is cut while they work."""
    source = noise(tmp_path / "model.pt", 64 * MIB)
    home = tmp_path / "instance"
    with Relay(machine.port) as relay:
        endpoint = type(machine.target.endpoint)("127.0.0.1", relay.port, machine.target.endpoint.user)
        through = Target(endpoint, machine.target.host_keys, machine.target.client_keys)
        async with await connect(machine.target) as link, Pool(link, command(home)) as channels:
            link.target = through
            await channels.channel(0)

            async def cut(folder: Path, pattern: str) -> None:
                while (
                    relay.connections < 4
                    or sum(p.stat().st_blocks * 512 for p in folder.glob(pattern)) < 8 * MIB
                ):
                    await asyncio.sleep(0.001)
                relay.cut()

            cutting = asyncio.create_task(cut(home, ".gpusess/sync/parts/*"))
            await push(read_files(source), "m", channels)
            await cutting
            assert (home / "m").read_bytes() == source.read_bytes()
            cutting = asyncio.create_task(cut(tmp_path, ".gpusess-part-*"))
            await pull_file("m", tmp_path / "back", channels)
            await cutting
            assert (tmp_path / "back").read_bytes() == source.read_bytes()


@needs_sshd
async def test_a_link_that_breaks_is_said_and_the_next_one_goes_on(
    machine: Machine,
    tmp_path: Path,
) -> None:
    source = noise(tmp_path / "model.pt", 48 * MIB)
    home = tmp_path / "instance"
    async with await connect(machine.target) as link, Pool(link, command(home)) as channels:
        pushing = asyncio.create_task(push(read_files(source), "m", channels))
        while sum(p.stat().st_blocks * 512 for p in home.glob(".gpusess/sync/parts/*")) < 16 * MIB:
            await asyncio.sleep(0.001)
        link.abort()
        with pytest.raises(Unreachable):
            await pushing
    async with await connect(machine.target) as link, Pool(link, command(home)) as channels:
        await push(read_files(source), "m", channels)
        sent = sum(channel.sent for channel in channels._channels.values())
    assert (home / "m").read_bytes() == source.read_bytes()
    assert sent < 36 * MIB


async def test_code_that_goes_on_changing_is_sent_in_the_end(remote: Remote, tmp_path: Path) -> None:
    """`sync` reads and sends; the place always holds one state of the folder."""
    root = tmp_path / "code"
    root.mkdir()
    place = ".gpusess/sessions/s/code"
    known = None
    async with remote.agent.channels() as channels:
        for number in range(6):
            (root / "a.py").write_text(f"{number}")
            (root / "b.py").write_text(f"{number}")
            done = await sync(lambda: read_code(root), place, channels, known)
            known = done.known
            there = remote.home / place
            assert (there / "a.py").read_text() == (there / "b.py").read_text() == f"{number}"
        again = await sync(lambda: read_code(root), place, channels, known)
        assert not again.changed
        there.unlink()
        assert not (await sync(lambda: read_code(root), place, channels, known)).changed
        assert (there / "a.py").read_text() == "5", "a link that was removed is made again"


async def test_an_agent_that_cannot_start_says_why(remote: Remote) -> None:
    channels = Pool(remote.connection, "echo 'no such luck' >&2; exit 3")
    with pytest.raises((Unreachable, SyncError), match="no such luck"):
        await channels.channel(0)
    await channels.close()


@pytest.mark.slow
@pytest.mark.sample
async def test_fifty_thousand_files(remote: Remote, tmp_path: Path) -> None:
    root = tmp_path / "code"

    def write() -> None:
        for number in range(50_000):
            place = root / f"d{number % 300}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"f{number}.py").write_text(f"{number}\n")

    await asyncio.to_thread(write)  # the link stays alive meanwhile
    place = ".gpusess/sessions/s/code"
    async with remote.agent.channels() as channels:
        first = await sync(lambda: read_code(root), place, channels)
        assert (first.files, first.sent_files) == (50_000, 50_000)
        (root / "d7" / "f7.py").write_text("changed\n")
        again = await sync(lambda: read_code(root), place, channels, first.known)
        assert again.sent_files == 1
    there = remote.home / place
    assert sum(len(names) for _, _, names in os.walk(f"{there}/")) == 50_000
    assert (there / "d7" / "f7.py").read_text() == "changed\n"
    assert (there / "d299" / "f49799.py").read_text() == "49799\n"
