"""Streaming under strain: slow consumers, dead links, many readers, and journals of millions of records."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gpusess.errors import Unreachable
from gpusess.remote.agent import Agent
from gpusess.remote.follow import Mirror, follow
from gpusess.remote.pool import Pool
from gpusess.remote.ssh import Target, connect
from gpusess.sync.checkpoints import listing, pull
from remote_agent.checkpoints import begin, publish, verify
from remote_agent.journal import Journal, ack_path, encode, read_ack, settle
from tests.faults.relay import Relay

from .conftest import RUN, Remote

MIB = 1 << 20


def fill(run: Path, records: int, detail: str = "") -> int:
    """A journal of that many records, as its writer would leave it; its length in bytes."""
    run.mkdir(parents=True, exist_ok=True)
    record = {"kind": "phase", "name": "evaluate", "detail": detail}
    with (run / "journal.jsonl").open("wb") as file:
        for seq in range(records):
            file.write(encode(record, seq, 1e9))
    settle(run / "journal.jsonl")
    return read_ack(run / "journal.jsonl")


def followers(home: Path) -> list[psutil.Process]:
    """The agent's processes on that instance that send files now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "follow" in words and words[1].endswith(".pyz") and process.cwd() == str(home):
                found.append(process)
    return found


async def until(condition: object, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.02)


async def test_a_slow_consumer_costs_no_memory_on_either_side(remote: Remote, tmp_path: Path) -> None:
    length = fill(remote.run, 80_000, "x" * 1000)
    assert length > 80 * MIB
    mirror = Mirror(tmp_path / "mirror")
    us = psutil.Process()
    before, ours, theirs = us.memory_info().rss, 0, 0
    began, fast = time.monotonic(), False

    def slow() -> None:
        nonlocal ours, theirs, fast
        ours = max(ours, us.memory_info().rss - before)
        if time.monotonic() - began < 2:
            time.sleep(0.1)
        elif not fast:
            fast = True
            theirs = max(p.memory_info().rss for p in followers(remote.home))

    task = asyncio.create_task(follow(remote.connection, remote.agent, RUN, mirror, slow))
    await until(lambda: mirror.length("journal.jsonl") == length, 60)
    task.cancel()
    assert (mirror.folder / "journal.jsonl").read_bytes() == (remote.run / "journal.jsonl").read_bytes()
    assert 0 < theirs < 40 * MIB, "the agent reads no further ahead than the pipe takes"
    assert ours < 48 * MIB, "here waits a window's worth"


async def test_several_readers_of_one_run_do_not_hold_each_other_up(remote: Remote, tmp_path: Path) -> None:
    fill(remote.run, 20_000, "x" * 100)
    release = asyncio.Event()
    mirrors = [Mirror(tmp_path / f"mirror-{n}") for n in range(4)]

    async def read(number: int, mirror: Mirror) -> None:
        async with await connect(remote.target) as connection:
            agent = Agent(connection, lambda _: None)
            if number == 0:  # It has asked, and then takes nothing for as long as the others read.
                async with connection.open_process(agent.command("follow", str(remote.run))) as process:
                    await process.write(mirror.request())
                    await release.wait()
            await follow(connection, agent, RUN, mirror, lambda: None)

    tasks = [asyncio.create_task(read(n, m)) for n, m in enumerate(mirrors)]
    with Journal(remote.run / "journal.jsonl") as journal:
        for n in range(50):
            journal.append([{"kind": "phase", "name": "evaluate", "detail": str(n)}])
            await asyncio.sleep(0.01)
        end = journal.length
    await until(lambda: all(m.length("journal.jsonl") == end for m in mirrors[1:]))
    assert mirrors[0].length("journal.jsonl") == 0
    release.set()
    await until(lambda: mirrors[0].length("journal.jsonl") == end)
    original = (remote.run / "journal.jsonl").read_bytes()
    assert all((m.folder / "journal.jsonl").read_bytes() == original for m in mirrors)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_reader_follows_twenty_runs(remote: Remote, tmp_path: Path) -> None:
    runs = [f"run-{n}" for n in range(20)]
    journals = []
    for run in runs:
        folder = remote.run.parent / run
        folder.mkdir(exist_ok=True)
        journals.append(Journal(folder / "journal.jsonl"))
    mirrors = [Mirror(tmp_path / run) for run in runs]
    connections = [await connect(remote.target) for _ in range(4)]
    agents = [Agent(connection, lambda _: None) for connection in connections]
    tasks = [
        asyncio.create_task(follow(connections[n % 4], agents[n % 4], run, mirrors[n], lambda: None))
        for n, run in enumerate(runs)
    ]
    for n in range(10):
        for journal in journals:
            journal.append([{"kind": "phase", "name": "evaluate", "detail": str(n)}] * 10)
        await asyncio.sleep(0.02)

    def all_here() -> bool:
        return all(m.length("journal.jsonl") == j.length for m, j in zip(mirrors, journals, strict=True))

    await until(all_here)
    for mirror, journal in zip(mirrors, journals, strict=True):
        assert (mirror.folder / "journal.jsonl").read_bytes() == journal.path.read_bytes()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for connection in connections:
        await connection.close()


async def test_a_checkpoint_on_its_way_does_not_hold_up_the_journal(remote: Remote, tmp_path: Path) -> None:
    aside = begin(remote.run, "step-1")
    (aside / "model.pt").write_bytes(os.urandom(MIB) * 96)
    made = publish(remote.run, "step-1", 1)
    mirror = Mirror(tmp_path / "mirror")
    noticed = asyncio.Event()
    place = f".gpusess/runs/{RUN}"
    meanwhile = 0
    with Journal(remote.run / "journal.jsonl") as journal:
        following = asyncio.create_task(
            follow(remote.connection, remote.agent, RUN, mirror, lambda: None, noticed.set)
        )
        await asyncio.wait_for(noticed.wait(), 10)
        async with (
            await connect(remote.target) as other,
            Pool(other, remote.agent.command("sync")) as channels,
        ):
            assert await listing(channels, place) == [made]
            pulling = asyncio.create_task(pull(channels, place, made, mirror.folder))
            while not pulling.done():
                journal.append([{"kind": "phase", "name": "evaluate", "detail": "x"}])
                await until(lambda: mirror.length("journal.jsonl") == journal.length, 2)
                meanwhile += not pulling.done()
                await asyncio.sleep(0.02)
            await pulling
        following.cancel()
    assert meanwhile >= 5
    assert verify(mirror.folder / "checkpoints/step-1") == made


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in the middle of a frame"])
async def test_a_dead_link_is_noticed_within_15_seconds(remote: Remote, tmp_path: Path, busy: bool) -> None:
    fill(remote.run, 60_000 if busy else 10, "x" * 1000)
    mirror = Mirror(tmp_path / "mirror")
    endpoint = remote.target.endpoint
    with Relay(endpoint.port) as relay:
        target = Target(
            type(endpoint)(endpoint.host, relay.port, endpoint.user),
            remote.target.host_keys,
            remote.target.client_keys,
        )
        async with await connect(target) as connection:
            agent = Agent(connection, lambda _: None)
            task = asyncio.create_task(follow(connection, agent, RUN, mirror, lambda: None))
            await until(lambda: mirror.length("journal.jsonl") > 0)
            if not busy:
                await asyncio.sleep(4)
            relay.hold()
            held = time.monotonic()
            with pytest.raises(Unreachable):
                await task
            assert time.monotonic() - held < 15.5


WRITE_MILLIONS = """
import sys, zlib
PHASE = b'"kind":"phase","name":"evaluate","detail":""'
RESULT = (b'"kind":"result","task":"t","sample":"s%d","candidate":0,"category":"c","verdict":"right",'
          b'"reason":"parsed","extracted":"1","rule":"r","disagree":false,"gold":"1","completion":"1",'
          b'"prompt_sha":"","tokens_in":1,"tokens_out":1,"finish":"stop","seconds":0.1')
with open(sys.argv[1], "wb") as file:
    for seq in range(int(sys.argv[2])):
        raw = b'{"v":1,"seq":%d,"ts":%d.5,%b' % (seq, 10**9 + seq // 1000, PHASE if seq % 10 else RESULT % seq)
        file.write(b'%b,"crc":"%08x"}\\n' % (raw, zlib.crc32(raw)))
"""
OPEN_RUN = """
import re, sys
from pathlib import Path
from gpusess.sessions.mirror import RunMirror
view = RunMirror(Path(sys.argv[1]))
while view.refresh():
    pass
assert not view.damage, view.damage
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())  # getrusage's is the parent's too
assert view.state.done == int(sys.argv[2]), view.state.done
print(view.state.version, int(peak[1]) // 1024)
"""
REPOSITORY = str(Path(__file__).resolve().parents[2])


def python(program: str, *args: str) -> str:
    """What a process of its own prints that runs the program."""
    environment = {**os.environ, "PYTHONPATH": REPOSITORY}
    done = subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


@pytest.mark.slow
async def test_ten_million_records_are_followed_from_the_end_in_constant_memory(
    remote: Remote, tmp_path: Path
) -> None:
    count = 10_000_000  # of which a tenth are results
    journal, home = remote.run / "journal.jsonl", tmp_path / "mirror"
    # In threads: the connection's keepalives have to be answered meanwhile.
    await asyncio.to_thread(python, WRITE_MILLIONS, str(journal), str(count))
    ack_path(journal).unlink(missing_ok=True)
    home.mkdir()
    await asyncio.to_thread(shutil.copyfile, journal, home / "journal.jsonl")
    mirror = Mirror(home)
    size = mirror.length("journal.jsonl")
    assert size > 900 * MIB
    us = psutil.Process()
    before = us.memory_info().rss
    task = asyncio.create_task(follow(remote.connection, remote.agent, RUN, mirror, lambda: None))
    await asyncio.sleep(1.0)
    began = time.monotonic()
    with journal.open("ab") as file:  # Its writer would read it all: that is not measured here.
        file.write(encode({"kind": "phase", "name": "evaluate", "detail": "last"}, count, 1e9))
    await until(lambda: mirror.length("journal.jsonl") == journal.stat().st_size)
    assert time.monotonic() - began < 5
    assert us.memory_info().rss - before < 32 * MIB
    assert max(p.memory_info().rss for p in followers(remote.home)) < 48 * MIB
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    records, peak_mib = map(
        int, (await asyncio.to_thread(python, OPEN_RUN, str(home), str(count // 10))).split()
    )
    assert records == count + 1
    assert peak_mib < 100
