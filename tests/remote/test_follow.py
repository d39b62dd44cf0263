"""Bringing the agent to a real instance, and following a run's files byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from gpusess.errors import RemoteError, SyncError
from gpusess.remote.agent import Agent
from gpusess.remote.follow import Diverged, Mirror, follow
from gpusess.remote.package import build
from remote_agent.journal import Journal

from .conftest import RUN, Remote


def record(n: int) -> dict[str, object]:
    return {"kind": "phase", "name": "evaluate", "detail": f"{n} ünïcode ⏎"}


async def until(condition: object, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


def test_the_package_is_the_same_bytes_for_the_same_source() -> None:
    first = build()
    build.cache_clear()
    again = build()
    assert first == again
    assert first.id == hashlib.sha256(first.content).hexdigest()[:16]
    names = zipfile.ZipFile(io.BytesIO(first.content)).namelist()
    assert "__main__.py" in names
    assert "remote_agent/tasks/data/word_problems.jsonl" in names
    assert not [n for n in names if "__pycache__" in n or n.startswith("gpusess")]


async def test_the_agent_is_sent_once(remote: Remote) -> None:
    again = Agent(remote.connection, lambda _: None)
    assert await again.install() is False


async def test_a_damaged_agent_is_refused(remote: Remote) -> None:
    pyz = remote.home / ".gpusess/agents" / build().file_name
    pyz.write_bytes(pyz.read_bytes() + b"x")
    with pytest.raises(RemoteError, match="damaged"):
        await remote.agent.use_python("python3")


async def test_a_python_that_is_none_is_named(remote: Remote) -> None:
    with pytest.raises(RemoteError, match="does not run with `/no/python`"):
        await remote.agent.use_python("/no/python")


async def test_what_is_written_arrives_byte_for_byte_and_only_when_durable(
    remote: Remote, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path / "mirror")
    journal = Journal(remote.run / "journal.jsonl")
    task = asyncio.create_task(follow(remote.connection, remote.agent, RUN, mirror, lambda: None))
    for n in range(200):
        journal.append([record(n), record(-n)])
        if n % 40 == 0:
            await asyncio.sleep(0.02)
    await until(lambda: mirror.length("journal.jsonl") == journal.length)
    # Bytes beyond the acknowledged length are not durable: they must not be sent.
    with (remote.run / "journal.jsonl").open("ab") as file:
        file.write(b'{"torn": ')
    (remote.run / "worker.log").write_text("a line\n")
    await until(lambda: mirror.length("worker.log") == 7)
    assert (mirror.folder / "journal.jsonl").read_bytes() == (remote.run / "journal.jsonl").read_bytes()[
        : journal.length
    ]
    task.cancel()
    journal.close()


async def test_following_goes_on_from_the_mirrors_length(remote: Remote, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "mirror")
    with Journal(remote.run / "journal.jsonl") as journal:
        for n in range(5):
            journal.append([record(n)])
            arrived = mirror.length("journal.jsonl")
            task = asyncio.create_task(follow(remote.connection, remote.agent, RUN, mirror, lambda: None))
            await until(lambda: mirror.length("journal.jsonl") == journal.length)
            assert mirror.length("journal.jsonl") > arrived
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert (mirror.folder / "journal.jsonl").read_bytes() == (remote.run / "journal.jsonl").read_bytes()


@pytest.mark.parametrize("how", ["longer", "changed"])
async def test_a_mirror_that_is_no_prefix_is_refused_and_kept(
    remote: Remote, tmp_path: Path, how: str
) -> None:
    mirror = Mirror(tmp_path / "mirror")
    with Journal(remote.run / "journal.jsonl") as journal:
        journal.append([record(1), record(2)])
        data = (remote.run / "journal.jsonl").read_bytes()
    mirror.append("journal.jsonl", 0, data + b"more\n" if how == "longer" else b"X" + data[1:])
    with pytest.raises(Diverged, match=r"journal\.jsonl"):
        await asyncio.wait_for(follow(remote.connection, remote.agent, RUN, mirror, lambda: None), 10)
    aside = mirror.set_aside()
    assert (aside / "journal.jsonl").stat().st_size > 0
    assert mirror.length("journal.jsonl") == 0


def test_a_mirror_takes_only_what_follows_its_end(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.append("journal.jsonl", 0, b"abc")
    for offset in (0, 2, 4):
        with pytest.raises(SyncError, match="3 bytes"):
            mirror.append("journal.jsonl", offset, b"x")
    with pytest.raises(SyncError, match="not asked for"):
        mirror.append("../../.ssh/authorized_keys", 0, b"x")
    assert (tmp_path / "journal.jsonl").read_bytes() == b"abc"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "events.jsonl",
        "journal.jsonl",
        "supervisor.log",
        "worker.log",
    ]


def test_partial_lines_are_dropped_before_a_journal_moves(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.append("journal.jsonl", 0, b"one\ntwo\nthr")
    mirror.cut_partial_lines()
    assert (tmp_path / "journal.jsonl").read_bytes() == b"one\ntwo\n"


async def test_secrets_go_over_stdin_and_nowhere_else(remote: Remote) -> None:
    said = await remote.agent.script(
        ".", {"TOKEN": "s3cr3t'quoted"}, ['printf %s "$TOKEN"', "ps -ef > ps.txt"]
    )
    assert said == (0, "s3cr3t'quoted")
    assert "s3cr3t" not in (remote.home / "ps.txt").read_text()


async def test_setup_stops_at_the_first_line_that_fails(remote: Remote) -> None:
    lines = ["echo before", "sh -c 'exit 3'", "touch after"]
    assert await remote.agent.script(".", {}, lines) == (3, "before\n")
    assert not (remote.home / "after").exists()
