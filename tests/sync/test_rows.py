"""Trees as lists: ids, differences, and lists that are refused."""

from __future__ import annotations

import errno
import os
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.syncing import blocks
from remote_agent.syncing.names import safe_link, safe_path
from remote_agent.syncing.rows import apply, check, difference, ordered, parse, tree_id
from remote_agent.syncing.store import Refused, clone

PATHS = st.text("ab/é🚀\udcff .", min_size=1, max_size=8)
ROWS = st.dictionaries(
    PATHS,
    st.tuples(
        st.sampled_from(["file", "exec", "link", "folder"]), st.integers(0, 9), st.text("xy", max_size=2)
    ),
    max_size=12,
).map(lambda found: ordered((path, *rest) for path, rest in found.items()))


@given(ROWS, ROWS)
def test_a_difference_applied_is_the_other_tree(a, b) -> None:
    assert apply(a, *difference(a, b)) == b
    assert difference(a, a) == ([], [])
    assert (tree_id(a) == tree_id(b)) == (a == b)


@given(st.text("ab./\\\0 ", max_size=12))
def test_a_safe_path_stays_inside(path: str) -> None:
    if safe_path(path):
        assert posixpath.normpath(path) == path
        assert not posixpath.normpath("/x/" + path).startswith("/y")
        assert posixpath.normpath(posixpath.join("/in/here", path)).startswith("/in/here/")


@given(st.lists(st.sampled_from(["a", "b", "c d"]), min_size=1, max_size=4), st.text("ab./", max_size=10))
def test_a_safe_link_stays_inside(parts: list[str], target: str) -> None:
    path = "/".join(parts)
    if safe_link(path, target):
        leads = posixpath.normpath(posixpath.join("/in/here", posixpath.dirname(path), target))
        assert (leads + "/").startswith("/in/here/")


FILE = ("file", 1, "x")
HOSTILE = {
    "parent": [["../a", *FILE]],
    "inner parent": [["b/../../a", *FILE]],
    "absolute": [["/tmp/a", *FILE]],
    "dot": [["./a", *FILE]],
    "slash": [["a/", "folder", 0, ""]],
    "nul": [["a\0b", *FILE]],
    "no path": [["", *FILE]],
    "link out": [["l", "link", 0, "../x"]],
    "absolute link": [["l", "link", 0, "/etc"]],
    "climbing link": [["d/l", "link", 0, "k/../../.."]],
    "through a link": [["l", "link", 0, "."], ["l/a", *FILE]],
    "deep through a link": [["l", "link", 0, "."], ["l/m/n/a", *FILE]],
    "below a file": [["f", *FILE], ["f/a", "folder", 0, ""]],
    "twice": [["a", *FILE], ["a", *FILE]],
    "a mode": [["a", "setuid", 1, "x"]],
    "a device": [["a", "device", 1, "x"]],
    "negative": [["a", "file", -1, "x"]],
    "no number": [["a", "file", True, "x"]],
    "too short": [["a"]],
    "no list": {"a": 1},
    "nothing": None,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_list_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        check(parse(HOSTILE[name]))


@given(st.binary(max_size=300), st.integers(1, 64))
def test_blocks_of_a_file(data: bytes, size: int) -> None:
    """Identity over any way in which the digests were come by; one block keeps the plain hash."""
    whole = blocks.identity([blocks.digest(data)])
    assert whole == blocks.digest(data).hex()
    pieces = [blocks.digest(data[at : at + size]) for at in range(0, len(data), size)]
    assert blocks.split(b"".join(pieces)) == pieces
    if len(pieces) > 1:
        assert blocks.identity(pieces) not in {
            whole,
            blocks.identity(pieces[:-1]),
            blocks.identity(pieces[::-1]),
        } or (pieces == pieces[::-1])


def test_a_copy_where_the_kernel_has_no_short_way(tmp_path, monkeypatch) -> None:
    def refuse(*args):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    (tmp_path / "a").write_bytes(os.urandom(3_000_001))
    with (tmp_path / "b").open("wb") as file:
        clone(tmp_path / "a", file.fileno(), 3_000_001)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("size", [0, 1, blocks.BLOCK - 1, blocks.BLOCK, blocks.BLOCK + 1, 3 * blocks.BLOCK])
def test_digests_of_files_with_holes(tmp_path, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(size)
        wanted = [blocks.UNKNOWN] * blocks.count(size)
        if size > 2 * blocks.BLOCK:
            file.seek(blocks.BLOCK + 5)
            file.write(b"z")
            file.flush()
            wanted[1] = blocks.digest(b"\0" * 5 + b"z" + b"\0" * (blocks.BLOCK - 6))
        assert blocks.digests(file.fileno(), size) == wanted
