"""The journal: no torn line counts, damage in the middle is refused, a full disk leaves nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remote_agent import journal as module
from remote_agent.journal import (
    BadLine,
    Busy,
    Corrupt,
    DuplicateKey,
    Journal,
    JournalError,
    NoSpace,
    decode,
    decode_all,
    encode,
    read_ack,
    scan,
)


def result(n: int) -> dict[str, Any]:
    return {"kind": "result", "task": "t", "sample": f"s{n}", "candidate": 0, "completion": f"é\n\u2028{n}"}


def filled(path: Path, count: int = 4) -> bytes:
    with Journal(path) as journal:
        for n in range(count):
            journal.append([result(n)])
    return path.read_bytes()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda k: k not in {"v", "seq", "ts", "kind", "crc"}), json_values
    )
)
def test_any_record_survives_the_round_trip_in_one_line(fields: dict[str, Any]) -> None:
    line = encode({"kind": "x", **fields}, 7, 1.5)
    assert line.count(b"\n") == 1
    back = decode(line)
    assert {k: v for k, v in back.items() if k not in {"v", "seq", "ts", "crc"}} == {"kind": "x", **fields}
    assert json.loads(line) == back


@given(st.data())
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    line = encode(result(1), 3, 1.0)
    at = data.draw(st.integers(0, len(line) - 2))
    broken = bytearray(line)
    broken[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadLine):
        list(decode_all(bytes(broken)))


def test_a_tail_torn_at_any_byte_is_set_aside_and_work_goes_on(tmp_path: Path) -> None:
    data = filled(tmp_path / "whole.jsonl")
    last = data.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(data)):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(data[:cut])
        with Journal(path, ballast=False) as journal:
            assert (journal.repaired, journal.length) == (cut - last, last)
            assert len(journal.keys) == 3
            journal.append([result(3)])
        assert [r["seq"] for r in scan(path).records] == [0, 1, 2, 3]
        if cut > last:
            assert (tmp_path / f"{cut}.jsonl.torn-{last}").read_bytes() == data[last:cut]


def test_a_torn_tail_on_a_full_disk_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    data = filled(path)
    path.write_bytes(data[:-5])

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with Journal(path) as journal:
        assert journal.repaired > 0
        assert len(journal.keys) == 3
    assert not list(tmp_path.glob("j.torn-*"))


def test_damage_before_good_lines_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    data = bytearray(filled(path))
    data[data.index(b"\n") + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="line 2"):
        Journal(path)
    assert path.read_bytes() == data


def test_one_writer(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"), pytest.raises(Busy):
        Journal(tmp_path / "j")
    Journal(tmp_path / "j").close()


def test_a_key_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append([result(1)])
        before = path.read_bytes()
        with pytest.raises(DuplicateKey):
            journal.append([result(2), result(1)])
        with pytest.raises(DuplicateKey):
            journal.append([result(3), {**result(3), "kind": "failed"}])
        assert path.read_bytes() == before
        journal.append([result(2)])
    with Journal(path) as journal, pytest.raises(DuplicateKey):
        journal.append([result(2)])


@pytest.mark.parametrize("room", range(0, 900, 53))
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "j"
    left = [room]
    write = os.write

    def short_write(fd: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(fd, bytes(data[: left[0]]))
        left[0] -= done
        return done

    with Journal(path) as journal:
        journal.append([result(0)])
        before = path.read_bytes()
        monkeypatch.setattr(module.os, "write", short_write)
        with pytest.raises(NoSpace):
            journal.append([result(n) for n in range(1, 9)])
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert read_ack(path) == len(before)
        journal.append([result(n) for n in range(1, 9)])
    assert [r["seq"] for r in scan(path).records] == list(range(9))


def test_other_write_errors_leave_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(tmp_path / "j") as journal:
        journal.append([result(0)])
        monkeypatch.setattr(module.os, "fdatasync", fail)
        with pytest.raises(JournalError, match="Input/output error"):
            journal.append([result(1)])
        monkeypatch.undo()
        assert len(scan(tmp_path / "j").records) == 1
        assert journal.keys == {("t", "s0", 0)}


def test_what_is_acknowledged_is_durable_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    synced = [0]
    sync = os.fdatasync

    def watch(fd: int) -> None:
        assert read_ack(path) <= synced[0]
        sync(fd)
        synced[0] = path.stat().st_size

    monkeypatch.setattr(module.os, "fdatasync", watch)
    with Journal(path) as journal:
        for n in range(5):
            journal.append([result(n)])
            assert read_ack(path) == synced[0] == journal.length


@given(st.binary(max_size=200))
@example(b"z" * 100)
@example(b"")
def test_an_ack_of_garbage_is_never_trusted(garbage: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        filled(path, 2)
        module.ack_path(path).write_bytes(garbage)
        assert read_ack(path) == 0 or garbage.strip().count(b" ") == 1
        Journal(path).close()
        assert read_ack(path) == path.stat().st_size


def test_the_ballast_comes_and_goes(tmp_path: Path) -> None:
    ballast = tmp_path / "j.ballast"
    with Journal(tmp_path / "j") as journal:
        assert ballast.stat().st_size == module.BALLAST_BYTES
        journal.release_ballast()
        assert ballast.stat().st_size == 0
        assert journal.restore_ballast()
        assert ballast.stat().st_size == module.BALLAST_BYTES
