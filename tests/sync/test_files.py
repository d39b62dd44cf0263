"""Models, checkpoints and data: what is listed, and what arrives."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from gpusess.errors import SyncError
from gpusess.sync.files import read_files
from gpusess.sync.index import Index
from gpusess.sync.push import push
from gpusess.sync.tree import Changed, Skipped

from .conftest import Agents, snapshot, write


async def test_a_hub_cache_arrives_as_files(tmp_path: Path, agents: Agents) -> None:
    write(tmp_path / "blobs", {"1": "weights" * 900_000, "2": ""})
    model = tmp_path / "snapshots" / "main"
    (model / "sub").mkdir(parents=True)
    (model / "model.bin").symlink_to("../../blobs/1")
    (model / "sub" / "empty").symlink_to("../../../blobs/2")
    tree = read_files(model)
    assert tree.entries[0].content == "", "a large file is hashed as it is sent"
    done = await push(tree, "m", agents)
    assert snapshot(agents.home / "m") == {
        b"model.bin": ("file", b"weights" * 900_000),
        b"sub/empty": ("file", b""),
    }
    assert tree.bytes == done.bytes == done.sent_bytes == 6_300_000
    assert agents.bytes_of("block") < 100_000, "text is compressed"


async def test_what_is_left_out_is_listed(tmp_path: Path, agents: Agents) -> None:
    root = write(tmp_path / "m", {"a": "1", "d/b": "2"})
    (root / "empty").mkdir()
    (root / "loop").symlink_to(".")
    (root / "gone").symlink_to("nowhere")
    tree = read_files(root)
    assert [entry.path for entry in tree.entries] == ["a", "d/b", "empty"]
    assert tree.skipped == (Skipped("gone", "a link to nothing"), Skipped("loop", "a link to a folder"))
    assert (await push(tree, "m", agents)).skipped == tree.skipped
    assert (agents.home / "m/empty").is_dir()


async def test_a_renamed_large_file_is_not_sent_again(tmp_path: Path, agents: Agents) -> None:
    root = write(tmp_path / "m", {"old.pt": "w" * 5_000_000})
    time.sleep(0.15)  # a file of this very moment is not trusted to stay what it was
    index = Index()
    done = await push(read_files(root, index), "m", agents)
    (root / "old.pt").rename(root / "new.pt")
    agents.sent.clear()
    again = await push(read_files(root, index), "m", agents, done.known)
    assert (again.sent_files, again.sent_bytes, again.gone) == (0, 0, 1)
    assert "block" not in {op for op, _ in agents.sent}
    assert snapshot(agents.home / "m") == {b"new.pt": ("file", b"w" * 5_000_000)}
    write(root, {"other.pt": "v" * 5_000_000})
    (entry,) = [entry for entry in read_files(root, index).entries if entry.path == "other.pt"]
    assert entry.content == "", "another one is hashed as it is sent"


async def test_one_file(tmp_path: Path, agents: Agents) -> None:
    path = write(tmp_path, {"data set.jsonl": "{}\n"}) / "data set.jsonl"
    await push(read_files(path), "there/data set.jsonl", agents)
    assert (agents.home / "there/data set.jsonl").read_text() == "{}\n"
    path.write_text("{}\n{}\n")
    await push(read_files(path), "there/data set.jsonl", agents)
    assert (agents.home / "there/data set.jsonl").read_text() == "{}\n{}\n"


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "gone", "pipe"])
async def test_a_file_that_changes_before_it_is_sent_leaves_nothing(
    tmp_path: Path, agents: Agents, change: str
) -> None:
    root = write(tmp_path / "m", {"a": "x" * 3_000_000, "b": "y" * 100})
    tree = read_files(root)
    tree.kept._data.clear()
    b = root / "b"
    if change in ("gone", "pipe"):
        b.unlink()
        if change == "pipe":
            os.mkfifo(b)
    else:
        b.write_text({"longer": "y" * 101, "shorter": "y" * 99, "other": "y" * 99 + "z"}[change])
    with pytest.raises(Changed, match=r"^b: changed while it was being sent") as caught:
        await push(tree, "m", agents)
    assert caught.value.hint
    assert not (agents.home / "m").exists()


def test_what_cannot_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def said(path: str) -> str:
        with pytest.raises(SyncError) as caught:
            read_files(Path(path))
        return caught.value.message

    assert said("nowhere") == "nowhere: does not exist"
    Path("empty").mkdir()
    assert said("empty") == "empty: holds no files to send"
    os.mkfifo("pipe")
    assert said("pipe") == "pipe: is a pipe; only files can be sent"
    Path("d").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("d/s")
        assert said("d") == "s: is a socket; only files can be sent"
    assert said("long" * 100) == f"{'long' * 100}: cannot be read: file name too long"
