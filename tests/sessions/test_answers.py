"""Mirrors read into columns: what was verified once is trusted as long as its bytes are the same. And the
baseline that a spec names, looked up there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gpusess.analysis import result_building
from gpusess.analysis.answers import SampleIndex
from gpusess.analysis.result_building import FrameBuilder
from gpusess.errors import SessionError
from gpusess.sessions import answers, index_file
from gpusess.sessions.expected import expectation
from gpusess.sessions.find_runs import find_run, find_runs
from gpusess.sessions.index_file import FILE
from gpusess.sessions.store import Store
from gpusess.spec.models import Expect
from remote_agent import protocol
from remote_agent.journal import encode


def write(folder: Path, right: int, wrong: int) -> Path:
    """A mirror with so many right and wrong results."""
    folder.mkdir(parents=True, exist_ok=True)
    planned = protocol.Planned(
        task="t", samples=right + wrong, candidates=1, total=right + wrong, plan_sha="s", data="d", model="m",
        engine="e", dtype="float32", headline="hashes",
    )  # fmt: skip
    records: list[dict[str, Any]] = [protocol.payload(planned)]
    for i in range(right + wrong):
        result = protocol.Result(
            task="t", sample=f"s{i}", verdict="right" if i < right else "wrong", reason="parsed", extracted="1",
            rule="hashes", gold="1", completion="#### 1", prompt_sha="p", tokens_in=1, tokens_out=1,
            finish="stop", seconds=0.1,
        )  # fmt: skip
        records.append(protocol.payload(result))
    lines = (encode(record, seq, float(seq)) for seq, record in enumerate(records))
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    return folder


def read(folder: Path) -> answers.RunData:
    return answers.read_run("r", folder, SampleIndex())


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror that was read once, and counts as long enough to be indexed."""
    monkeypatch.setattr(result_building, "FRAME_BYTES", 1000)
    folder = write(tmp_path / "r", 30, 10)
    assert read(folder).answers.total == 40
    assert (folder / FILE).exists()
    return folder


def test_a_short_mirror_is_not_indexed(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", 3, 1)
    read(folder)
    assert not (folder / FILE).exists()


def test_an_indexed_mirror_is_not_decoded_again(remembered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []
    take = FrameBuilder.take
    monkeypatch.setattr(FrameBuilder, "take", lambda self, lines: (taken.extend(lines), take(self, lines))[1])
    assert read(remembered).answers.count_of(verdict="right") == 30
    assert len(taken) < 5


def test_what_has_come_since_is_checked(remembered: Path) -> None:
    extra = write(remembered.parent / "more", 1, 0) / "journal.jsonl"
    with (remembered / "journal.jsonl").open("ab") as file:
        file.write(extra.read_bytes().splitlines(keepends=True)[1].replace(b'"s0"', b'"s9"'))
    with pytest.raises(SessionError, match="line 42: checksum does not match"):
        read(remembered)


@pytest.mark.parametrize("far_from_the_end", [False, True])
def test_damage_to_indexed_bytes_is_found(
    remembered: Path, monkeypatch: pytest.MonkeyPatch, far_from_the_end: bool
) -> None:
    if far_from_the_end:  # where the hash of the last bytes does not see it
        monkeypatch.setattr(index_file, "tail_sha", lambda path, offset: stored_tail(remembered))
    journal = remembered / "journal.jsonl"
    content = journal.read_bytes().replace(b'"verdict":"right"', b'"verdict":"wrong"', 1)
    with journal.open("r+b") as file:  # the same file, as a failing disk would change it
        file.write(content)
    with pytest.raises(SessionError, match="line 2: checksum does not match"):
        read(remembered)
    assert (remembered / FILE).exists() != far_from_the_end


def stored_tail(folder: Path) -> str:
    """The hash that stands in the last frame of the index file."""
    return re.findall(rb'"tail":"([0-9a-f]+)"', (folder / FILE).read_bytes())[-1].decode()


@pytest.mark.parametrize("content", [b"", b"{", b"gpusess results\n", b"gpusess results\n" + bytes(60)])
def test_an_index_of_garbage_is_none(remembered: Path, content: bytes) -> None:
    (remembered / FILE).write_bytes(content)
    assert read(remembered).answers.total == 40


# --- names and baselines ---


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A session of two runs, `base` with 75% of 40, and `next`, which has not begun."""
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    store = Store(tmp_path / "gpusess.db")
    store.add_session(
        id="abc1", name="amber-finch", job="j", provider="local", spec="", spec_path="x.yaml", options={},
        runs=[("abc1-base", "base"), ("abc1-next", "next")],
    )  # fmt: skip
    store.update_run("abc1-base", status="complete", started=1.0)
    write(tmp_path / "sessions" / "abc1" / "runs" / "abc1-base", 30, 10)
    return store


def test_runs_are_found_by_session_run_and_folder(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "sessions/abc1/runs/abc1-base"
    assert [place.folder for place in find_runs(store, "amber-finch")] == [folder]
    assert find_run(store, "amber-finch/base").label == "amber-finch/base"
    assert find_run(store, str(folder)).folder == folder
    assert find_run(store, str(folder / "journal.jsonl")).folder == folder
    with pytest.raises(SessionError, match="no run 'none' in amber-finch"):
        find_run(store, "amber-finch/none")


def test_a_number_is_expected_as_it_is_and_within(store: Store) -> None:
    assert expectation(store, "abc1", None) is None
    found = expectation(store, "abc1", Expect(value=0.6, within=0.05, pause=True))
    assert found is not None
    assert (found.low, found.high, found.says, found.pause) == (
        pytest.approx(0.55),
        pytest.approx(0.65),
        "the spec",
        True,
    )
    edge = expectation(store, "abc1", Expect(value=0.99, within=0.05))
    assert edge is not None
    assert edge.high == 1.0


@pytest.mark.parametrize("name", ["base", "amber-finch/base"])
def test_a_baseline_is_its_wilson_interval(store: Store, name: str) -> None:
    found = expectation(store, "abc1", Expect(baseline=name))
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(0.598, abs=1e-3), pytest.approx(0.858, abs=1e-3))
    assert found.says == f"the baseline {name}"


@pytest.mark.parametrize("name", ["next", "nobody/base"])
def test_a_baseline_that_cannot_be_read_expects_nothing(store: Store, name: str) -> None:
    found = expectation(store, "abc1", Expect(baseline=name))
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)
    assert found.says.startswith(f"nothing: the baseline {name}")
    json.dumps(found.model_dump())
