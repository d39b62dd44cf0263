"""Large files by blocks, both ways: what is sent of them, and what a crash, a change or a full disk leaves."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from gpusess.errors import SyncError, Unreachable
from gpusess.sync import large, pull
from gpusess.sync.fetch import fetch
from gpusess.sync.files import read_files
from gpusess.sync.progress import Progress
from gpusess.sync.pull import PART, pull_file
from gpusess.sync.push import push
from gpusess.sync.tree import Changed
from remote_agent.syncing.blocks import BLOCK, digest
from remote_agent.syncing.store import clone

from .conftest import Agents, snapshot, write

MIB = 1 << 20


def noise(path: Path, size: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def change(path: Path, *places: int) -> None:
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(b"changed")


@pytest.mark.parametrize("channels", [1, 3])
async def test_only_changed_blocks_go_up(tmp_path: Path, agents: Agents, channels: int) -> None:
    agents.most = channels
    path = noise(tmp_path / "model.pt", 24 * MIB + 11)
    progress = Progress()
    done = await push(read_files(path), "m/model.pt", agents, progress=progress)
    assert (agents.home / "m/model.pt").read_bytes() == path.read_bytes()
    assert (progress.total, progress.sent, progress.spared) == (24 * MIB + 11, 24 * MIB + 11, 0)
    assert agents.bytes_of("block") == 24 * MIB + 11, "noise is sent as it is"

    for edit, blocks in [
        (lambda: change(path, 5, 9 * BLOCK - 3), 3),
        (lambda: path.open("ab").write(b"longer"), 1),
        (lambda: os.truncate(path, 7 * MIB + 1), 1),
    ]:
        edit()
        agents.sent.clear()
        progress = Progress()
        done = await push(read_files(path), "m/model.pt", agents, done.known, progress)
        assert (agents.home / "m/model.pt").read_bytes() == path.read_bytes()
        assert len([op for op, _ in agents.sent if op == "block"]) == blocks
        assert progress.sent + progress.spared == progress.total == path.stat().st_size
        assert done.sent_files == 1
        assert done.sent_bytes == progress.sent < path.stat().st_size, "blocks that were there are not sent"

    old = tmp_path / "other" / "name.pt"
    old.parent.mkdir()
    shutil.copy(path, old)
    await push(read_files(old), "n/name.pt", agents)
    agents.sent.clear()
    again = await push(read_files(old), "n/name.pt", agents)
    assert (again.changed, agents.bytes_of("block")) == (False, 0)
    assert list((agents.home / ".gpusess/sync/parts").iterdir()) == []


@pytest.mark.parametrize("victim", [0, 1])
async def test_a_killed_agent_is_sent_only_what_it_lacks(tmp_path: Path, agents: Agents, victim: int) -> None:
    """0: the channel that everything hangs on; 1: one more, whose blocks go over the others."""
    agents.most = 2
    path = noise(tmp_path / "model.pt", 48 * MIB)
    written = lambda: sum(p.stat().st_blocks * 512 for p in agents.home.glob(".gpusess/sync/parts/*"))  # noqa: E731

    async def kill() -> None:
        while written() < 20 * MIB:
            await asyncio.sleep(0.001)
        agents.kill(victim)

    killing = asyncio.create_task(kill())
    if victim == 0:
        with pytest.raises(Unreachable):
            await push(read_files(path), "m", agents)
        await killing
        await agents.broken()
        there = written() // BLOCK
        assert there >= 20
        agents.sent.clear()
        await push(read_files(path), "m", agents)
        # A block or two may have been cut in the middle.
        assert agents.bytes_of("block") <= (48 - there + 2) * BLOCK
    else:
        await push(read_files(path), "m", agents)
        await killing
    assert (agents.home / "m").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("touched", [False, True], ids=["quiet", "written to"])
async def test_blocks_that_were_hashed_before_it_was_known_what_is_there(
    tmp_path: Path, agents: Agents, monkeypatch: pytest.MonkeyPatch, touched: bool
) -> None:
    """The agent looks through the older version for longer than this side takes for all hashes."""
    monkeypatch.setattr(large, "EARLY", 2)
    path = noise(tmp_path / "model.pt", 12 * MIB)
    first = await push(read_files(path), "m", agents)
    change(path, 1 * MIB, 7 * MIB)
    agents.sent.clear()
    agents.pipes[0].process.send_signal(signal.SIGSTOP)
    pushing = asyncio.create_task(push(read_files(path), "m", agents, first.known))
    await asyncio.sleep(0.3)
    if touched:
        change(path, 7 * MIB + 100)
    agents.pipes[0].process.send_signal(signal.SIGCONT)
    if touched:
        with pytest.raises(Changed):
            await pushing
        return
    await pushing
    assert agents.bytes_of("block") == 2 * MIB
    assert (agents.home / "m").read_bytes() == path.read_bytes()


async def test_a_killed_sender_is_continued(tmp_path: Path, agents: Agents) -> None:
    path = noise(tmp_path / "model.pt", 48 * MIB)
    pushing = asyncio.create_task(push(read_files(path), "m", agents))
    while agents.bytes_of("block") < 24 * MIB:
        await asyncio.sleep(0.001)
    pushing.cancel()
    await asyncio.gather(pushing, return_exceptions=True)
    agents.kill()
    await agents.pipes[0].process.wait()
    fresh = Agents(agents.home)
    try:
        await push(read_files(path), "m", fresh)
        assert fresh.bytes_of("block") <= 30 * MIB
    finally:
        await fresh.close()
    assert (agents.home / "m").read_bytes() == path.read_bytes()


async def test_a_file_that_is_written_to_while_it_goes_up(tmp_path: Path, agents: Agents) -> None:
    path = noise(tmp_path / "model.pt", 32 * MIB)
    pushing = asyncio.create_task(push(read_files(path), "m", agents))
    while agents.bytes_of("block") < 4 * MIB:
        await asyncio.sleep(0.001)
    change(path, 5)
    with pytest.raises(SyncError, match="changed while it was being sent"):
        await pushing
    assert not (agents.home / "m").exists()
    await push(read_files(path), "m", agents)
    assert (agents.home / "m").read_bytes() == path.read_bytes()


async def test_damage_on_the_way_is_found(tmp_path: Path, agents: Agents) -> None:
    channel = await agents.channel(0)
    await channel.ask("begin", key="abc", size=3, place="p", path="x")
    with pytest.raises(SyncError, match="arrived damaged"):
        await channel.ask("block", b"xyz", key="abc", i=0, h="00" * 32)


async def test_what_was_done_to_a_large_file_there_is_mended(tmp_path: Path, agents: Agents) -> None:
    path = noise(tmp_path / "model.pt", 8 * MIB)
    done = await push(read_files(path), "m", agents)
    change(agents.home / "m", 3 * MIB)
    agents.sent.clear()
    done = await push(read_files(path), "m", agents, done.known)
    assert (agents.home / "m").read_bytes() == path.read_bytes()
    assert len([op for op, _ in agents.sent if op == "block"]) == 1


async def test_after_a_reboot_everything_is_hashed_again(tmp_path: Path, agents: Agents) -> None:
    """A file that never reached the disk has its time and size, and not its bytes."""
    root = write(tmp_path / "d", {"small": "1" * 100})
    noise(root / "model.pt", 8 * MIB)
    tree = read_files(root)
    done = await push(tree, "d", agents)
    place = agents.home / "d"
    for name, hole in (("small", b"\0" * 100), ("model.pt", b"\0" * MIB)):
        before = (place / name).stat()
        with (place / name).open("r+b") as file:
            file.write(hole)
        os.utime(place / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not (await push(read_files(root), "d", agents, done.known)).changed, "it looks untouched"
    await agents.close()
    for path in agents.home.glob(".gpusess/sync/*/*"):
        if path.parent.name in ("trees", "files") and (path.parent.name == "trees" or path.suffix):
            boot, value = json.loads(zlib.decompress(path.read_bytes()))
            path.write_bytes(zlib.compress(json.dumps([f"not {boot}", value]).encode()))
    rebooted = Agents(agents.home)
    try:
        assert (await push(read_files(root), "d", rebooted, done.known)).changed
    finally:
        await rebooted.close()
    assert snapshot(place) == snapshot(root)


@pytest.mark.parametrize("channels", [1, 3])
async def test_only_changed_blocks_come_home(tmp_path: Path, agents: Agents, channels: int) -> None:
    agents.most = channels
    remote = noise(agents.home / "out/model.pt", 40 * MIB + 7)
    local = tmp_path / "at home" / "model.pt"
    done = await pull_file("out/model.pt", local, agents)
    assert local.read_bytes() == remote.read_bytes()
    assert (done.received, local.stat().st_mtime_ns) == (40 * MIB + 7, remote.stat().st_mtime_ns)
    assert (await pull_file("out/model.pt", local, agents)).received == 0
    change(remote, 5, 30 * BLOCK)
    assert (await pull_file("out/model.pt", local, agents)).received == 2 * BLOCK
    assert local.read_bytes() == remote.read_bytes()
    os.truncate(remote, 3)
    await pull_file("out/model.pt", local, agents)
    assert local.read_bytes() == remote.read_bytes()
    os.truncate(remote, 0)
    await pull_file("out/model.pt", local, agents)
    assert [path.name for path in local.parent.iterdir()] == ["model.pt"]
    assert local.read_bytes() == b""


async def test_no_block_is_written_while_the_older_version_is_copied(
    tmp_path: Path, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that come over several channels at once, and a disk that copies slowly."""
    agents.most = 3
    remote = noise(agents.home / "model.pt", 40 * MIB)
    await pull_file("model.pt", tmp_path / "model.pt", agents)
    change(remote, 5, 20 * BLOCK, 30 * BLOCK)

    def slowly(*args: Any) -> None:
        time.sleep(0.5)
        clone(*args)

    monkeypatch.setattr(pull, "clone", slowly)
    assert (await pull_file("model.pt", tmp_path / "model.pt", agents)).received == 3 * BLOCK
    assert (tmp_path / "model.pt").read_bytes() == remote.read_bytes()


async def test_a_fetch_that_was_cut_off_goes_on(tmp_path: Path, agents: Agents) -> None:
    remote = noise(agents.home / "model.pt", 48 * MIB)
    local = tmp_path / "model.pt"
    pulling = asyncio.create_task(pull_file("model.pt", local, agents))
    part = lambda: next(tmp_path.glob(f"{PART}*"), None)  # noqa: E731
    while part() is None or part().stat().st_blocks * 512 < 4 * MIB:
        await asyncio.sleep(0.001)
    agents.kill()
    with pytest.raises(Unreachable):
        await pulling
    await agents.broken()
    assert not local.exists()
    there = part().stat().st_blocks * 512 // BLOCK
    done = await pull_file("model.pt", local, agents)
    assert done.received <= (48 - there + 2) * BLOCK
    assert local.read_bytes() == remote.read_bytes()
    assert part() is None


async def test_a_file_that_grows_while_it_is_fetched(tmp_path: Path, agents: Agents) -> None:
    remote = noise(agents.home / "model.pt", 32 * MIB)
    ended = asyncio.Event()

    async def write_on() -> None:
        while not ended.is_set():
            with remote.open("ab") as file:
                file.write(b"more")
            await asyncio.sleep(0.002)

    writing = asyncio.create_task(write_on())
    with pytest.raises(SyncError, match="goes on changing"):
        await pull_file("model.pt", tmp_path / "x", agents)
    ended.set()
    await writing
    await pull_file("model.pt", tmp_path / "x", agents)
    assert (tmp_path / "x").read_bytes() == remote.read_bytes()


async def test_a_folder_comes_home_and_nothing_leaves_it(tmp_path: Path, agents: Agents) -> None:
    out = write(agents.home / "out", {f"logs/{n}.txt": str(n) for n in range(30)} | {"é ü/x": "1"})
    noise(out / "model.pt", 6 * MIB)
    (out / "latest").symlink_to("model.pt")
    (out / "passwd").symlink_to("/etc/passwd")
    (out / "up").symlink_to("../../secret")
    (out / "void").mkdir()
    os.mkfifo(out / "pipe")
    local = tmp_path / "home" / "out"
    seen: list[tuple[int, int]] = []
    progress = Progress(lambda p: seen.append((p.total, p.sent + p.spared)))
    done = await fetch("out", local, agents, progress)
    size = sum(path.lstat().st_size for path in out.rglob("*") if path.is_file() and not path.is_symlink())
    assert progress.total == progress.sent == done.received == size
    first = next(total for total, moved in seen if moved)
    assert size - 1000 < first <= size, "what is to come is known before the first byte is here"
    there, here = snapshot(out), snapshot(local)
    assert {item.path: item.reason for item in done.skipped} == {
        "passwd": "a link that leads out of the folder",
        "up": "a link that leads out of the folder",
        "pipe": "a device, socket or pipe",
    }
    assert here == {name: what for name, what in there.items() if name not in (b"passwd", b"up", b"pipe")}
    again = await fetch("out", local, agents)
    assert (again.received, snapshot(local)) == (0, here)
    (local / "é ü/x").unlink()
    (local / "é ü/x").mkdir()
    with pytest.raises(SyncError, match="is a directory") as caught:
        await fetch("out", local, agents)
    assert caught.value.hint == "move away what is there"
    (local / "é ü/x").rmdir()
    (local / "void").rmdir()
    (local / "void").touch()
    with pytest.raises(SyncError, match="void: file exists"):
        await fetch("out", local, agents)
    (local / "void").unlink()
    one = await fetch("out/model.pt", tmp_path / "one", agents)
    assert [file.path.name for file in one.files] == ["model.pt"]
    with pytest.raises(SyncError, match="does not exist on the instance"):
        await fetch("nowhere", local, agents)


class Liar:
    """An agent that says what it likes."""

    codec = "none"

    def __init__(self, lines: list[list[object]], blocks: list[tuple[dict[str, object], bytes]]) -> None:
        self.lines = lines
        self.blocks = blocks

    def wanted(self, size: int) -> int:
        return 1

    async def channel(self, number: int) -> Liar:
        return self

    async def ask(self, op, payload=b"", **facts):
        return {"codec": "none", "folder": True}, json.dumps(self.lines).encode()

    async def send(self, op, payload=b"", *, path, first, count, codec):
        frames = [({"more": True, "size": 5, "mtime": 1, "inode": 1}, b"")]
        frames += self.blocks if count else []
        frames.append(({"changed": False}, b""))

        class Answer:
            async def next(self):
                return frames.pop(0)

            def ready(self):
                return []

            def abandon(self):
                frames.clear()

        return Answer()


HELLO = ({"more": True, "i": 0, "h": digest(b"hello").hex(), "codec": "none"}, b"hello")


async def test_hostile_names_write_nothing_outside(tmp_path: Path) -> None:
    local = tmp_path / "in" / "here"
    local.mkdir(parents=True)
    (tmp_path / "in" / "outside").mkdir()
    (local / "mine").symlink_to("../outside")
    names = ["../evil", "/tmp/gpusess-evil", "a/../../evil", "mine/evil", "", ".", "..", "a\0b", "x/", "good"]
    done = await fetch("out", local, Liar([[name, "file", 5, 0, 420] for name in names], [HELLO]))
    assert [file.path.name for file in done.files] == ["good"]
    assert len(done.skipped) == len(names) - 1
    assert sorted(p.name for p in tmp_path.rglob("*") if p.name not in ("home", "cache", "sync")) == [
        "good", "here", "in", "mine", "outside",
    ]  # fmt: skip
    links = [["l", "link", 0, 0, "../.."], ["m", "link", 0, 0, "/etc"], ["good", "link", 0, 0, "x"]]
    with pytest.raises(SyncError, match="in the way of a link"):
        await fetch("out", local, Liar(links, []))
    through = [["s", "link", 0, 0, "mine"], ["s/evil", "file", 5, 0, 420]]
    with pytest.raises(SyncError):
        await fetch("out", local, Liar(through, [HELLO]))
    assert list((tmp_path / "in" / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "block",
    [
        ({**HELLO[0], "i": 1}, b"hello"),
        ({**HELLO[0], "i": -1}, b"hello"),
        ({**HELLO[0], "h": "00"}, b"hello"),
        ({**HELLO[0], "codec": "lzma"}, b"hello"),
        ({**HELLO[0], "codec": "zlib"}, b"hello"),
        (HELLO[0], b"hellp"),
    ],
)
async def test_blocks_that_nobody_asked_for_are_refused(tmp_path: Path, block) -> None:
    with pytest.raises(SyncError):
        await pull_file("x", tmp_path / "x", Liar([], [block]))
    assert not (tmp_path / "x").exists()


SMALL_DISK = """
set -e
mount -t tmpfs -o size=100m none "$1"
exec "$2" -m pytest -q -p no:cacheprovider -x tests/sync/test_blocks.py -k on_a_small_disk
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_a_full_disk(tmp_path: Path) -> None:
    """In a mount namespace of its own, with a disk of 100 MB: see the tests below."""
    disk = tmp_path / "disk"
    disk.mkdir()
    env = {**os.environ, "SMALL_DISK": str(disk)}
    script = ["unshare", "-m", "sh", "-c", SMALL_DISK, "sh", str(disk), sys.executable]
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=120, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no mounting here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("....")


on_small_disk = pytest.mark.skipif("SMALL_DISK" not in os.environ, reason="run by test_a_full_disk")


@on_small_disk
async def test_up_on_a_small_disk(tmp_path: Path) -> None:
    disk = Path(os.environ["SMALL_DISK"])
    path = noise(tmp_path / "model.pt", 30 * MIB)
    agents = Agents(disk / "instance")
    try:
        await push(read_files(path), "m", agents)
        larger = noise(tmp_path / "larger.pt", 40 * MIB)
        with pytest.raises(
            SyncError, match=r"41943040 bytes are to come, and there is room for \d+$"
        ) as caught:
            await push(read_files(larger), "n", agents)
        assert "free some space" in caught.value.hint
        assert (agents.home / "m").read_bytes() == path.read_bytes()
        assert list((agents.home / ".gpusess/sync/parts").iterdir()) == []
    finally:
        await agents.close()
        shutil.rmtree(agents.home)


@on_small_disk
async def test_several_files_that_fit_alone_but_not_together_on_a_small_disk(tmp_path: Path) -> None:
    disk = Path(os.environ["SMALL_DISK"])
    folder = tmp_path / "model"
    for number in range(3):
        noise(folder / f"{number}.pt", 14 * MIB, number)
    agents = Agents(disk / "instance")
    refused = pytest.raises(SyncError, match=f"{42 * MIB} bytes are to come, and .* has room for|is room for")
    try:
        with refused:
            await push(read_files(folder), "m", agents)
        assert agents.bytes_of("block") == 0, "nothing is sent before"
        noise(agents.home / "out/0.pt", 14 * MIB)
        for number in range(1, 3):
            (agents.home / f"out/{number}.pt").hardlink_to(agents.home / "out/0.pt")
        agents.sent.clear()
        with refused:
            await fetch("out", disk / "home", agents)
        assert agents.bytes_of("read") == 0
        assert not any((disk / "home").iterdir())
        shutil.rmtree(agents.home / "out")
        (disk / "home").rmdir()
        (folder / "2.pt").unlink()
        await push(read_files(folder), "m", agents)
        assert snapshot(agents.home / "m") == snapshot(folder)
    finally:
        await agents.close()
        shutil.rmtree(agents.home)


@on_small_disk
async def test_a_disk_that_fills_up_meanwhile_on_a_small_disk(tmp_path: Path) -> None:
    disk = Path(os.environ["SMALL_DISK"])
    path = noise(tmp_path / "model.pt", 30 * MIB)
    agents = Agents(disk / "instance")
    try:
        await agents.channel(0)
        pushing = asyncio.create_task(push(read_files(path), "m", agents))
        while agents.bytes_of("block") < 2 * MIB:
            await asyncio.sleep(0.001)
        hog = disk / "hog"
        with hog.open("wb") as file:
            try:
                while True:
                    file.write(bytes(MIB))
                    file.flush()
            except OSError:
                pass
        with pytest.raises(SyncError, match="No space left"):
            await pushing
        assert not (agents.home / "m").exists()
        parts = agents.home.glob(".gpusess/sync/parts/*")
        there = sum(part.stat().st_blocks * 512 for part in parts) // BLOCK
        hog.unlink()
        agents.sent.clear()
        await push(read_files(path), "m", agents)
        assert (agents.home / "m").read_bytes() == path.read_bytes()
        assert agents.bytes_of("block") <= (30 - there + 2) * MIB
    finally:
        await agents.close()
        shutil.rmtree(agents.home)


@on_small_disk
async def test_home_on_a_small_disk(tmp_path: Path, agents: Agents) -> None:
    disk = Path(os.environ["SMALL_DISK"])
    noise(agents.home / "model.pt", 50 * MIB)
    with pytest.raises(SyncError, match=r"52428800 bytes are to come, and this disk has room for"):
        await pull_file("model.pt", disk / "x", agents)
    assert list(disk.iterdir()) == []
