"""The kept state of a long run: equal to folding all of it again, and taken only for these very files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings

from gpusess.sessions import saved_fold
from gpusess.sessions.mirror import RunMirror
from remote_agent.journal import encode

from .test_result_index import RECORDS, result

PLANNED = {
    "kind": "planned", "task": "t", "samples": 9, "candidates": 4, "total": 36, "categories": {"rates": 4},
    "plan_sha": "s", "data": "d", "model": "m", "engine": "e", "dtype": "f", "headline": "hashes",
    "expect": {"low": 0.1, "high": 0.2, "says": "x", "pause": False}, "rerankers": ["r"],
}  # fmt: skip
TELEMETRY = {"kind": "telemetry", "cpu": 3.0, "mem_used": 1, "mem_total": 2, "disk_free": 3, "worker_rss": 4,
             "gpus": [{"index": 0, "name": "H100", "util": 3.0}]}  # fmt: skip


def write(path: Path, records: list[Any], first: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for seq, record in enumerate(records, first):
            file.write(encode(record, seq, float(seq)))


def folded(folder: Path) -> RunMirror:
    mirror = RunMirror(folder)
    while mirror.refresh():
        pass
    return mirror


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(saved_fold, "WORTH_IT", 100)
    write(tmp_path / "journal.jsonl", [PLANNED, *(result(sample=f"s{i}") for i in range(20))])
    write(tmp_path / "events.jsonl", [TELEMETRY] * 3)
    assert folded(tmp_path).state.done == 20
    assert (tmp_path / saved_fold.FILE).exists()
    return tmp_path


@settings(max_examples=40, deadline=None)
@given(RECORDS, RECORDS)
def test_going_on_from_it_is_folding_it_all(
    tmp_path_factory: pytest.TempPathFactory, before: list[Any], after: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    before = [r for r in before if r["kind"] != "of tomorrow"]
    after = [r for r in after if r["kind"] != "of tomorrow"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_fold, "WORTH_IT", 1)
        write(folder / "journal.jsonl", [PLANNED, *before])
        write(folder / "events.jsonl", [TELEMETRY])
        folded(folder)
        assume((folder / saved_fold.FILE).exists())  # half a surrogate pair cannot be kept
        again = RunMirror(folder)
        assert again.length == (folder / "journal.jsonl").stat().st_size
        write(folder / "journal.jsonl", after, first=len(before) + 1)
        write(folder / "events.jsonl", [TELEMETRY], first=1)
        while again.refresh():
            pass
        (folder / saved_fold.FILE).unlink()
        whole = folded(folder)
        assert again.state == whole.state
        assert again.state.telemetry.maxlen == whole.state.telemetry.maxlen


def test_it_is_not_folded_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []
    monkeypatch.setattr(RunMirror, "_take", lambda self, line: lines.append(line))
    assert folded(kept).state.done == 20
    assert lines == []


def test_a_replaced_copy_is_noticed_after_it(kept: Path) -> None:
    mirror = RunMirror(kept)
    (kept / "journal.jsonl").rename(kept / "aside")
    write(kept / "journal.jsonl", [PLANNED, result()])
    while mirror.refresh():
        pass
    assert mirror.state.done == 1


def _shorten(folder: Path) -> None:
    path = folder / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def _rewrite(folder: Path) -> None:
    path = folder / "journal.jsonl"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"s3"', b'"t3"', 1))


def _garble(folder: Path) -> None:
    path = folder / saved_fold.FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _empty(folder: Path) -> None:
    (folder / saved_fold.FILE).write_bytes(b"")


@pytest.mark.parametrize("change", [_shorten, _rewrite, _garble, _empty])
def test_it_is_not_taken_where_anything_is_other(kept: Path, change: Any) -> None:
    change(kept)
    assert saved_fold.load(kept) is None


def test_nor_where_the_fold_is_another(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_fold, "_code", lambda: 7)
    assert saved_fold.load(kept) is None


def test_damage_is_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_fold, "WORTH_IT", 1)
    write(tmp_path / "journal.jsonl", [PLANNED, result(), result(sample="s2")])
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(
        b"".join([lines[0], lines[1].replace(b'"right"', b'"wrong"'), lines[2]])
    )
    assert folded(tmp_path).damage
    assert not (tmp_path / saved_fold.FILE).exists()


def test_a_touched_file_is_folded_again(kept: Path) -> None:
    os.utime(kept / "journal.jsonl", (1, 1))
    assert saved_fold.load(kept) is None
    assert folded(kept).state.done == 20
