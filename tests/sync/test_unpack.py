"""What a hostile or broken stream can do: nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import posixpath
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remote_agent.unpack import MANIFEST, UnpackError, is_there, main, safe_link, safe_path, unpack

from .conftest import member, snapshot, stream_of, unpacked

DATA = b"data"
SHA = hashlib.sha256(DATA).hexdigest()
A = ["a", "file", 4, SHA]
GOOD = stream_of([A, ["d/l", "link", 0, "../a"]], member("a", DATA))

HOSTILE = {
    "parent": (stream_of([["../a", "file", 4, SHA]], member("../a", DATA)), "'../a' leads out of the folder"),
    "inner parent": (stream_of([["b/../../a", "file", 4, SHA]], member("b/../../a", DATA)), "leads out"),
    "absolute": (
        stream_of([["/tmp/a", "file", 4, SHA]], member("/tmp/a", DATA)),
        "'/tmp/a' leads out of the folder",
    ),
    "own manifest": (stream_of([[MANIFEST, "file", 4, SHA]], member(MANIFEST, DATA)), "leads out"),
    "link out": (stream_of([["l", "link", 0, "../x"]]), "the link 'l' leads out of the folder"),
    "absolute link": (stream_of([["l", "link", 0, "/etc"]]), "the link 'l' leads out of the folder"),
    "climbing link": (
        stream_of([["d/l", "link", 0, "k/../../.."]]),
        "the link 'd/l' leads out of the folder",
    ),
    "through a link": (
        stream_of([["l", "link", 0, "."], ["l/a", "file", 4, SHA]], member("l/a", DATA)),
        "'l/a' lies below a file or link",
    ),
    "link member": (
        stream_of([A], member("a", kind=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "'a' is not what the manifest lists",
    ),
    "hard link": (
        stream_of([A], member("a", kind=tarfile.LNKTYPE, linkname="/etc/passwd")),
        "'a' is not what the manifest lists",
    ),
    "device": (stream_of([A], member("a", kind=tarfile.CHRTYPE)), "'a' is not what the manifest lists"),
    "pipe": (stream_of([A], member("a", kind=tarfile.FIFOTYPE)), "'a' is not what the manifest lists"),
    "folder": (stream_of([A], member("a", kind=tarfile.DIRTYPE)), "'a' is not what the manifest lists"),
    "not listed": (
        stream_of([A], member("a", DATA), member("b", DATA)),
        "'b' is not what the manifest lists",
    ),
    "twice": (stream_of([A], member("a", DATA), member("a", DATA)), "'a' is not what the manifest lists"),
    "listed twice": (stream_of([A, A], member("a", DATA)), "a path is listed twice"),
    "missing": (stream_of([A]), "the stream ended early: 1 files are missing"),
    "other bytes": (stream_of([A], member("a", b"DATA")), "'a' arrived damaged: its hash differs"),
    "other size": (stream_of([A], member("a", b"data!")), "'a' is not what the manifest lists"),
    "no manifest": (stream_of([A])[1024:] + GOOD[1024:], "the stream does not start with a manifest"),
    "no json": (stream_of(b"{"), "the manifest cannot be read"),
    "deep json": (stream_of(b"[" * 200_000), "the manifest cannot be read"),
    "other json": (stream_of([["a", "setuid", 4, SHA]]), "the manifest cannot be read"),
    "negative": (stream_of([["a", "file", -4, SHA]]), "the manifest cannot be read"),
    "no unicode": (stream_of([["l", "link", 0, "\ud800"]]), "the stream is damaged or ended early"),
    "no path": (stream_of([["", "file", 0, SHA]]), "leads out of the folder"),
    "nul": (stream_of([["a\0b", "file", 4, SHA]]), "leads out of the folder"),
    "empty": (b"", "the stream is damaged or ended early"),
    "garbage": (b"garbage" * 1000, "the stream is damaged or ended early"),
    "damaged gzip": (gzip.compress(GOOD)[:20] + b"\xff" * 200, "the stream is damaged or ended early"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "around").mkdir()
    return tmp_path / "around" / "dest"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_stream_leaves_nothing_anywhere(name: str, place: Path) -> None:
    stream, reason = HOSTILE[name]
    done = unpacked(stream, place)
    assert done.returncode == 1
    said = done.stderr.decode()
    assert said.startswith(f"unpack {place}: ")
    assert reason in said
    assert "Traceback" not in said
    assert said.count("\n") == 1
    assert (done.stdout, list(place.parent.iterdir())) == (b"", [])


def test_a_huge_manifest_is_not_read(place: Path) -> None:
    head = tarfile.TarInfo(MANIFEST)
    head.size = 1 << 40
    done = unpacked(head.tobuf(), place)
    assert done.returncode == 1
    assert b"the manifest has 1099511627776 bytes; at most 67108864 are read" in done.stderr


@pytest.mark.parametrize("stream", [GOOD, gzip.compress(GOOD)], ids=["plain", "gzip"])
def test_a_stream_that_ends_early_leaves_nothing(stream: bytes, place: Path, tmp_path: Path) -> None:
    # The last file's bytes are in the fourth block; what follows is padding and the end's zeros.
    whole = len(stream) if stream is not GOOD else 512 * 3 + 4
    for cut in range(0, whole, 7 if stream is GOOD else 1):
        try:
            unpack(io.BytesIO(stream[:cut]), place)  # type: ignore[arg-type]
        except UnpackError:
            assert list(place.parent.iterdir()) == []
        else:
            assert snapshot(place) == {b"a": ("file", DATA), b"d/l": ("link", b"../a")}
            assert cut > whole - 40, "only the tail that holds no content may be missing"
            break


@given(st.binary(max_size=3), st.integers(0, len(GOOD) - 1), st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_gets_out_of_the_folder(place: Path, put: bytes, at: int, pressed: bool) -> None:
    whole = gzip.compress(GOOD) if pressed else GOOD
    at %= len(whole)
    damaged = whole[:at] + put + whole[at + len(put) :]
    try:
        unpack(io.BytesIO(damaged), place)  # type: ignore[arg-type]
    except UnpackError:
        assert list(place.parent.iterdir()) == []
    else:
        # Damage in the padding or in the manifest's names: what arrived has the right bytes all the same.
        assert list(place.parent.iterdir()) == [place]
        assert [v for v in snapshot(place).values() if v[0] != "link"] == [("file", DATA)]
        shutil.rmtree(place)


def test_the_senders_modes_and_owners_do_not_count(place: Path) -> None:
    rows = [A, ["x", "exec", 4, SHA]]
    stream = stream_of(rows, member("a", DATA, mode=0o6777, uid=0, gid=0), member("x", DATA, mode=0o7777))
    done = unpacked(stream, place)
    assert json.loads(done.stdout) == {
        "files": 2,
        "bytes": 8,
        "id": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "there": False,
    }
    assert [stat.S_IMODE((place / name).stat().st_mode) for name in "ax"] == [0o644, 0o755]


def test_what_is_there_is_left_as_it_is(place: Path) -> None:
    place.mkdir()
    (place / "mine").write_text("mine")
    done = unpacked(GOOD, place)
    assert json.loads(done.stdout) == {"files": 0, "bytes": 0, "there": True}
    assert snapshot(place) == {b"mine": ("file", b"mine")}


def test_an_empty_folder_is_not_there_yet(place: Path) -> None:
    place.mkdir()
    assert not is_there(place)
    assert unpacked(GOOD, place).returncode == 0
    assert (place / "a").read_bytes() == DATA


def test_what_a_dead_process_left_is_swept_and_a_living_one_is_not(place: Path) -> None:
    dead, living, other = (place.with_name(f"dest.tmp-{n}") for n in (2**22 + 1, os.getpid(), "x"))
    for folder in (dead, living, other):
        folder.mkdir()
    assert unpacked(GOOD, place).returncode == 0
    assert sorted(place.parent.iterdir()) == sorted([place, living, other])


def test_one_file_becomes_the_destination(place: Path) -> None:
    assert unpacked(stream_of([A], member("a", DATA)), place, "--file").returncode == 0
    assert place.read_bytes() == DATA
    assert list(place.parent.iterdir()) == [place]


def test_two_files_are_not_one(place: Path) -> None:
    done = unpacked(GOOD, place, "--file")
    assert done.returncode == 1
    assert b"one file was expected, the stream holds 2 entries" in done.stderr
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("args", [[], ["a", "b"], ["--what"]])
def test_usage(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert capsys.readouterr().err == "usage: unpack [--file] DEST\n"


PATHS = st.lists(st.sampled_from(["a", "b", "..", ".", "", "~", "c d"]), min_size=1, max_size=5).map("/".join)


@given(PATHS)
def test_a_safe_path_stays_inside(path: str) -> None:
    inside = posixpath.normpath(f"/r/{path}").startswith("/r/")
    assert not safe_path(path) or (inside and posixpath.normpath(path) == path)
    plain = all(part not in ("", ".", "..") for part in path.split("/"))
    assert safe_path(path) == plain


@given(PATHS.filter(safe_path), PATHS)
def test_a_safe_link_stays_inside(path: str, target: str) -> None:
    if safe_link(path, target):
        end = posixpath.normpath(f"/r/{posixpath.dirname(path)}/{target}")
        assert end == "/r" or end.startswith("/r/")
