"""Models, checkpoints and data: what is listed, and what arrives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gpusess.errors import SyncError
from gpusess.sync.files import pack, read_files
from gpusess.sync.tree import Skipped

from .conftest import snapshot, unpacked, write


def test_a_hub_cache_arrives_as_files(tmp_path: Path) -> None:
    write(tmp_path / "blobs", {"1": "weights" * 500_000, "2": ""})
    model = tmp_path / "snapshots" / "main"
    (model / "sub").mkdir(parents=True)
    (model / "model.bin").symlink_to("../../blobs/1")
    (model / "sub" / "empty").symlink_to("../../../blobs/2")
    tree = read_files(model)
    done = unpacked(b"".join(pack(tree)), tmp_path / "dest", *tree.unpack_args("")[:-1])
    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path / "dest") == {
        b"model.bin": ("file", b"weights" * 500_000),
        b"sub/empty": ("file", b""),
    }
    assert tree.bytes == 3_500_000


def test_what_is_left_out_is_listed(tmp_path: Path) -> None:
    root = write(tmp_path / "m", {"a": "1", "d/b": "2"})
    (root / "empty").mkdir()
    (root / "loop").symlink_to(".")
    (root / "gone").symlink_to("nowhere")
    tree = read_files(root)
    assert [entry.path for entry in tree.entries] == ["a", "d/b"]
    assert tree.skipped == (
        Skipped("empty/", "an empty folder"),
        Skipped("gone", "a link to nothing"),
        Skipped("loop", "a link to a folder"),
    )


def test_one_file(tmp_path: Path) -> None:
    path = write(tmp_path, {"data set.jsonl": "{}\n"}) / "data set.jsonl"
    tree = read_files(path)
    assert tree.unpack_args("d") == ["--file", "d"]
    assert unpacked(b"".join(pack(tree)), tmp_path / "there", "--file").returncode == 0
    assert (tmp_path / "there").read_text() == "{}\n"


def test_equal_trees_are_equal_streams(tmp_path: Path) -> None:
    trees = [read_files(write(tmp_path / name, {"z": "1", "a/b": "2", "a.b": "3"})) for name in "pq"]
    os.utime(tmp_path / "p" / "z", (0, 0))
    assert trees[0].content_id == trees[1].content_id
    assert b"".join(pack(trees[0])) == b"".join(pack(trees[1]))


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "gone", "pipe"])
def test_a_file_that_changes_while_it_is_sent_leaves_nothing(tmp_path: Path, change: str) -> None:
    root = write(tmp_path / "m", {"a": "x" * 3_000_000, "b": "y" * 100})
    tree = read_files(root)
    stream = pack(tree)
    sent = [next(stream), next(stream)]
    b = root / "b"
    if change in ("gone", "pipe"):
        b.unlink()
        if change == "pipe":
            os.mkfifo(b)
    else:
        b.write_text({"longer": "y" * 101, "shorter": "y" * 99, "other": "y" * 99 + "z"}[change])
    with pytest.raises(SyncError) as caught:
        sent.extend(stream)
    expected = "cannot be read any more" if change == "gone" else "changed while it was being sent"
    assert caught.value.message.startswith(f"b: {expected}")
    assert caught.value.hint
    (tmp_path / "around").mkdir()
    assert unpacked(b"".join(sent), tmp_path / "around" / "dest").returncode == 1
    assert list((tmp_path / "around").iterdir()) == []


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
