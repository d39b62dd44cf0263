"""Trees on their way to an agent's `sync` process: what is sent, what is left there, and what a crash leaves."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpusess.errors import SyncError, Unreachable
from gpusess.sync.code import read_code
from gpusess.sync.preview import preview
from gpusess.sync.push import PRIME, Known, push, sync
from gpusess.sync.tree import Entry
from remote_agent.syncing import frames
from remote_agent.syncing.rows import tree_id

from .conftest import Agents, snapshot, write

PLACE = ".gpusess/sessions/s/code"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {f"d{n % 7}/f{n}.txt": f"{n}\n" * n for n in range(60)}
    return write(tmp_path / "code", files)


async def test_a_resync_sends_only_what_differs(root: Path, agents: Agents) -> None:
    first = await push(read_code(root), PLACE, agents)
    assert (first.sent_files, first.gone, first.changed) == (60, 0, True)
    agents.sent.clear()
    again = await push(read_code(root), PLACE, agents, first.known)
    assert (again.sent_files, again.changed, [op for op, _ in agents.sent]) == (0, False, ["tree"])

    (root / "d1/f1.txt").write_text("new\n")
    (root / "d2/new name.txt").write_text("more\n")
    (root / "d3/f3.txt").unlink()
    (root / "d4/f4.txt").chmod(0o755)
    (root / "d5/f5.txt").rename(root / "d5/moved.txt")
    agents.sent.clear()
    third = await push(read_code(root), PLACE, agents, first.known)
    assert third.changed
    assert third.gone == 2
    assert third.sent_files == 2, "the changed one and the new: what was moved is there under its old name"
    assert [op for op, _ in agents.sent] == ["tree", "pack", "commit"], "one flight"
    assert snapshot(agents.home / PLACE) == snapshot(root)


async def test_only_a_first_sync_over_a_long_line_sends_bytes_ahead(root: Path, agents: Agents) -> None:
    near = await sync(lambda: read_code(root), PLACE, agents)
    assert agents.bytes_of("echo") == 0
    agents.most = 8
    await sync(lambda: read_code(root), PLACE, agents, near.known)
    assert agents.bytes_of("echo") == 0
    await sync(lambda: read_code(root), "elsewhere", agents)
    assert agents.bytes_of("echo") == PRIME
    assert snapshot(agents.home / "elsewhere") == snapshot(root)


async def test_a_tree_that_is_there_already_is_not_sent(root: Path, agents: Agents) -> None:
    await push(read_code(root), "one/code", agents)
    shutil.copytree(root, root.with_name("copy"))
    (root.with_name("copy") / "d0" / "f0.txt").write_text("other")
    agents.sent.clear()
    done = await push(read_code(root), "two/code", agents)
    assert (done.changed, (agents.home / "two/code").is_dir()) == (False, True)
    other = await push(read_code(root.with_name("copy")), "three/code", agents)
    assert other.changed
    assert snapshot(agents.home / "three/code") == snapshot(root.with_name("copy"))


async def test_what_was_done_to_the_tree_there_is_mended(root: Path, agents: Agents) -> None:
    known = (await push(read_code(root), PLACE, agents)).known
    there = agents.home / PLACE
    (there / "d1/f1.txt").write_text("damaged")
    (there / "d2/f2.txt").unlink()
    old = os.path.realpath(there)
    done = await push(read_code(root), PLACE, agents, known)
    assert done.changed
    assert done.sent_files == 2
    assert snapshot(there) == snapshot(root)
    assert os.path.realpath(there) != old, "whoever works in the damaged one goes on there"


async def test_nobody_ever_sees_half_a_tree(root: Path, agents: Agents) -> None:
    """A process that reads the place all the while sees the old tree or the new one."""
    for path in root.rglob("*.txt"):
        path.write_text("0")
    known = (await push(read_code(root), PLACE, agents)).known
    seen: set[str] = set()
    ended = asyncio.Event()

    async def look() -> None:
        while not ended.is_set():
            folder = Path(os.path.realpath(agents.home / PLACE))
            texts = {path.read_text() for path in folder.rglob("*.txt")}
            assert len(texts) == 1
            seen.update(texts)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    for number in range(1, 5):
        for path in root.rglob("*.txt"):
            path.write_text(str(number))
        known = (await push(read_code(root), PLACE, agents, known)).known
    ended.set()
    await looking
    assert "4" in seen


async def test_an_agent_that_forgot_is_told_everything(root: Path, agents: Agents) -> None:
    wrong = Known("0" * 64, [Entry("x", "file", 1, "y")])
    done = await push(read_code(root), PLACE, agents, wrong)
    assert done.changed
    assert snapshot(agents.home / PLACE) == snapshot(root)
    assert done.gone == 1


async def test_a_preview_changes_nothing(root: Path, agents: Agents) -> None:
    known = (await push(read_code(root), PLACE, agents)).known
    (root / "d1/f1.txt").write_text("new\n")
    (root / "d3/f3.txt").unlink()
    before = sorted(agents.home.rglob("*"))
    plan = await preview(read_code(root), PLACE, agents, known)
    assert [entry.path for entry in plan.send] == ["d1/f1.txt"]
    assert plan.gone == ("d3/f3.txt",)
    assert sorted(agents.home.rglob("*")) == before


async def test_a_killed_agent_leaves_nothing_half_and_its_work_is_used(
    tmp_path: Path, agents: Agents
) -> None:
    root = write(tmp_path / "code", {f"d/f{n}": os.urandom(20_000).hex() for n in range(400)})
    tree = read_code(root)

    async def kill() -> None:
        while not any(agents.home.glob(".gpusess/blobs/*.tmp-*/d/f2*")):
            await asyncio.sleep(0.001)
        agents.kill()

    killing = asyncio.create_task(kill())
    with pytest.raises(Unreachable):
        await push(tree, PLACE, agents)
    await killing
    assert not (agents.home / PLACE).exists()
    left = len(list(agents.home.glob(".gpusess/blobs/*.tmp-*/d/*")))
    await agents.broken()
    agents.sent.clear()
    done = await push(tree, PLACE, agents)
    assert done.changed
    assert snapshot(agents.home / PLACE) == snapshot(root)
    assert left > 0
    assert [path.name for path in (agents.home / ".gpusess/blobs").iterdir()] == [tree.content_id]


async def test_equal_files_are_sent_once(tmp_path: Path, agents: Agents) -> None:
    root = write(
        tmp_path / "code", {f"d{n}/__init__.py": "" for n in range(50)} | {f"{n}": "same" for n in range(50)}
    )
    (root / "3").chmod(0o755)
    done = await push(read_code(root), PLACE, agents)
    assert done.sent_files == 2
    assert snapshot(agents.home / PLACE) == snapshot(root)
    (agents.home / PLACE / "1").write_text("edited")
    assert (agents.home / PLACE / "2").read_text() == "same", "files of one tree are no links of each other"


async def test_trees_of_no_use_go_and_those_that_are_worked_in_stay(root: Path, agents: Agents) -> None:
    known = (await push(read_code(root), PLACE, agents)).known
    first = os.path.realpath(agents.home / PLACE)
    working = await asyncio.create_subprocess_exec("sleep", "60", cwd=first)
    try:
        for number in range(8):
            (root / "d1/f1.txt").write_text(str(number))
            known = (await push(read_code(root), PLACE, agents, known)).known
        await (await agents.channel(0)).ask("echo")
        assert Path(first).is_dir()
        assert len(list((agents.home / ".gpusess/blobs").iterdir())) == 5, (
            "it, the present one, and three before"
        )
    finally:
        working.kill()
        await working.wait()


HOSTILE = {
    "parent": ["../a", "file", 4, "x"],
    "absolute": ["/tmp/a", "file", 4, "x"],
    "link out": ["l", "link", 0, "../x"],
    "device": ["d", "device", 0, ""],
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_list_leaves_nothing(agents: Agents, name: str) -> None:
    channel = await agents.channel(0)
    rows = [HOSTILE[name]]
    with pytest.raises(SyncError):
        await channel.ask("tree", json.dumps(rows).encode(), tree=tree_id(rows), place=PLACE)
    assert list((agents.home / ".gpusess/blobs").iterdir()) == []


async def test_requests_that_make_no_sense_are_answered(agents: Agents) -> None:
    channel = await agents.channel(0)
    for op, payload, facts in [
        ("nothing", b"", {}),
        ("tree", b"[", {"tree": "x"}),
        ("tree", b"[" * 100_000, {"tree": "x"}),
        ("tree", b"[]", {"tree": "x", "codec": "lzma"}),
        ("tree", b"xx", {"tree": "x", "codec": "zlib"}),
        ("tree", b"xx", {"tree": "x", "codec": "zstd"}),
        ("tree", b"[]", {"tree": "x"}),
        ("tree", b"[]", {}),
        ("begin", b"", {"key": "../../x", "size": 5, "place": "a", "path": "b"}),
        ("block", b"x", {"key": "none", "i": 0, "h": "00"}),
        ("seal", b"x", {"key": "none", "size": 1}),
        ("read", b"", {"path": "/dev/zero", "count": 1}),
        ("list", b"", {"path": "nowhere"}),
    ]:
        with pytest.raises(SyncError):
            await channel.ask(op, payload, **facts)
    assert (await channel.ask("commit", tree="x"))[0]["state"] == "none"


async def test_without_zstd_the_agent_takes_zlib(
    root: Path, agents: Agents, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow/zstandard.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    channel = await agents.channel(0)
    assert channel.codec == "zlib"
    await push(read_code(root), PLACE, agents)
    assert snapshot(agents.home / PLACE) == snapshot(root)


async def test_a_place_that_is_no_link_is_left_alone(root: Path, agents: Agents) -> None:
    write(agents.home / PLACE, {"mine": "1"})
    with pytest.raises(SyncError, match="was not put there by a sync"):
        await push(read_code(root), PLACE, agents)
    assert snapshot(agents.home / PLACE) == {b"mine": ("file", b"1")}


NAMES = st.sampled_from(["a", "b", "c d", "é", "-x"])
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    st.one_of(st.binary(max_size=20), st.just("exec"), st.just("link"), st.just("folder")),
    min_size=1,
    max_size=8,
)


def make(root: Path, spec: dict[str, object]) -> Path:
    root.mkdir()
    for path, what in spec.items():
        place = root / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if what == "folder":
                place.mkdir(exist_ok=True)
            elif what == "link":
                place.symlink_to("a")
            else:
                place.write_bytes(what if isinstance(what, bytes) else b"#!")
                place.chmod(0o755 if what == "exec" else 0o644)
        except OSError:  # a file stands where a folder should be
            continue
    (root / "always").write_text("1")
    return root


def test_any_tree_after_any_other(tmp_path: Path) -> None:
    """Whatever was there, with or without memory of it: afterwards the place holds what is here."""

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(TREES, min_size=2, max_size=3), st.booleans())
    def check(specs: list[dict[str, object]], remembers: bool) -> None:
        async def go(folder: Path) -> None:
            agents = Agents(folder / "instance")
            known = None
            try:
                for number, spec in enumerate(specs):
                    root = make(folder / str(number), spec)
                    tree = read_code(root)
                    done = await push(tree, PLACE, agents, known if remembers else None)
                    known = done.known
                    assert snapshot(agents.home / PLACE) == snapshot(root)
                    assert done.id == tree.content_id
            finally:
                await agents.close()

        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            asyncio.run(go(Path(folder)))

    check()


def test_frames_that_are_none() -> None:
    for line in (b"", b"[]", b"{", b"1", b'{"n":-1}', b'{"n":"x"}', b'{"n":99999999999}', b"[" * 50_000):
        with pytest.raises(frames.BadFrame):
            frames.decode(line)
