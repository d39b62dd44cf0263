"""Checkpoints on disk: whole or not there, in order, kept by a rule, and manifests that lie refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent import checkpoints
from remote_agent.checkpoints import begin, discard, folder, keep, newest_good, publish, verify, whole
from remote_agent.manifest import BadCheckpoint, Checkpoint, File, encode, parse, to_value, wanted


def make(run: Path, step: int, score: float | None = None, content: bytes = b"weights") -> Checkpoint:
    name = f"step-{step}"
    aside = begin(run, name)
    (aside / "model.safetensors").write_bytes(content + str(step).encode())
    (aside / "state").mkdir()
    (aside / "state/rng state.pt").write_bytes(b"")
    return publish(run, name, step, score)


def names(found: list[Checkpoint]) -> list[str]:
    return [made.name for made in found]


def test_what_was_published_is_whole_and_in_order(tmp_path: Path) -> None:
    assert whole(tmp_path) == []
    assert newest_good(tmp_path) == (None, [])
    for step in (100, 20, 3):
        make(tmp_path, step)
    assert names(whole(tmp_path)) == ["step-3", "step-20", "step-100"]
    made = verify(folder(tmp_path) / "step-100")
    assert [file.path for file in made.files] == ["model.safetensors", "state/rng state.pt"]
    assert [file.size for file in made.files] == [10, 0]
    assert newest_good(tmp_path) == (made, [])
    with pytest.raises(BadCheckpoint, match="exists"):
        make(tmp_path, 3)


def test_what_is_being_written_is_not_there(tmp_path: Path) -> None:
    aside = begin(tmp_path, "step-1")
    (aside / "model.safetensors").write_bytes(b"half")
    assert whole(tmp_path) == []
    assert list(begin(tmp_path, "step-1").iterdir()) == [], "what an earlier try left is gone"


@pytest.mark.parametrize(
    "how", ["shorter", "flipped", "missing", "no manifest", "another's manifest", "garbage"]
)
def test_a_damaged_one_is_never_resumed_from(tmp_path: Path, how: str) -> None:
    good = make(tmp_path, 1)
    make(tmp_path, 2)
    place = folder(tmp_path) / "step-2"
    model, manifest = place / "model.safetensors", place / "manifest.json"
    if how == "shorter":
        os.truncate(model, 3)
    elif how == "flipped":
        model.write_bytes(b"wEights2")
    elif how == "missing":
        model.unlink()
    elif how == "no manifest":
        manifest.unlink()
    elif how == "another's manifest":
        manifest.write_bytes(encode(good))
    else:
        manifest.write_bytes(b"\xff\x00{")
    found, refused = newest_good(tmp_path)
    assert found == good
    assert len(refused) == 1
    assert refused[0].startswith("step-2: ")


@pytest.mark.parametrize("what", ["link", "pipe", "nothing"])
def test_only_files_are_published(tmp_path: Path, what: str) -> None:
    aside = begin(tmp_path, "a")
    if what == "link":
        (aside / "model.pt").symlink_to("/etc/passwd")
    elif what == "pipe":
        os.mkfifo(aside / "model.pt")
    with pytest.raises(BadCheckpoint):
        publish(tmp_path, "a", 1)
    assert whole(tmp_path) == []


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b", "x" * 101, "a\n"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadCheckpoint):
        begin(tmp_path, name)


def test_a_score_may_come_later(tmp_path: Path) -> None:
    make(tmp_path, 1)
    before = folder(tmp_path).stat().st_mtime_ns
    time.sleep(0.01)
    assert checkpoints.set_score(tmp_path, "step-1", 0.75).score == 0.75
    assert verify(folder(tmp_path) / "step-1").score == 0.75
    assert folder(tmp_path).stat().st_mtime_ns > before, "whoever watches the folder sees it"


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, score in ((1, 0.2), (2, 0.9), (3, 0.5), (4, None), (5, 0.9)):
        make(tmp_path, step, score)
    assert names(wanted(whole(tmp_path), 2, best=True)) == ["step-5", "step-4"]
    assert names(wanted(whole(tmp_path), 0, best=True)) == ["step-5"], "of equal ones the later"
    discard(tmp_path, "step-5")
    assert keep(tmp_path, 1, best=True) == ["step-1", "step-3"]
    assert names(whole(tmp_path)) == ["step-2", "step-4"]
    assert sorted(path.name for path in folder(tmp_path).iterdir()) == ["step-2", "step-4"]


def test_a_checkpoint_that_is_a_link_loses_the_link_only(tmp_path: Path) -> None:
    make(tmp_path / "other", 1)
    folder(tmp_path).mkdir()
    (folder(tmp_path) / "step-1").symlink_to(folder(tmp_path / "other") / "step-1")
    assert names(whole(tmp_path)) == ["step-1"]
    discard(tmp_path, "step-1")
    assert whole(tmp_path) == []
    assert names(whole(tmp_path / "other")) == ["step-1"]


def test_a_score_does_not_change_what_a_link_leads_to(tmp_path: Path) -> None:
    sent = make(tmp_path / "other", 1)
    folder(tmp_path).mkdir()
    (folder(tmp_path) / "step-1").symlink_to(folder(tmp_path / "other") / "step-1")
    checkpoints.set_score(tmp_path, "step-1", 0.5)
    assert verify(folder(tmp_path) / "step-1").score == 0.5
    assert whole(tmp_path / "other") == [sent]


WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from remote_agent.checkpoints import begin, publish, keep
run, step = Path(sys.argv[1]), int(sys.argv[3])
while True:
    step += 1
    aside = begin(run, f"step-{step}")
    for number in range(3):
        (aside / f"{number}.bin").write_bytes(bytes([step % 256]) * 300_000)
    publish(run, f"step-{step}", step)
    keep(run, 2, best=False)
    print(step, flush=True)
"""


def test_killed_at_any_moment_what_has_a_name_is_whole(tmp_path: Path) -> None:
    chance = random.Random(5)
    said = 0
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(tmp_path), str(Path(__file__).parents[2]), str(said)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert writer.stdout
        said = int(writer.stdout.readline())
        time.sleep(chance.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        said = max([said, *map(int, writer.stdout.read().split())])
        writer.wait()
        found = whole(tmp_path)
        for made in found:
            verify(folder(tmp_path) / made.name)
        newest, refused = newest_good(tmp_path)
        assert newest
        assert newest.step >= said, "what was published stays"
        assert not refused
        said = newest.step


GOOD = Checkpoint("step-1", 1, 1e9, 0.5, (File("a/model.pt", 3, "0" * 64), File("b.json", 0, "1" * 64)))


def test_a_manifest_survives_the_round_trip() -> None:
    assert parse(encode(GOOD)) == GOOD


def lie(**changes: Any) -> Any:
    return {**to_value(GOOD), **changes}


def with_path(*paths: str) -> Any:
    return lie(files=[{"path": path, "size": 1, "sha256": "0" * 64} for path in paths])


@pytest.mark.parametrize(
    "value",
    [
        with_path("../../.ssh/authorized_keys"),
        with_path("/etc/passwd"),
        with_path("a/../../b"),
        with_path("a//b"),
        with_path("./a"),
        with_path("a/"),
        with_path(""),
        with_path("a\\..\\b"),
        with_path("c:evil"),
        with_path("a\x00b"),
        with_path("a\x1b[2Jb"),
        with_path("manifest.json"),
        with_path("Manifest.JSON"),
        with_path("x" * 256),
        with_path("a", "a"),
        with_path("a", "A"),
        with_path("a", "a/b"),
        with_path("A/b/c", "a/B"),
        lie(files=[]),
        lie(files="x"),
        lie(files=[7]),
        lie(files=[{"path": "a", "size": -1, "sha256": "0" * 64}]),
        lie(files=[{"path": "a", "size": True, "sha256": "0" * 64}]),
        lie(files=[{"path": "a", "size": 1 << 60, "sha256": "0" * 64}]),
        lie(files=[{"path": "a", "size": 1, "sha256": "0" * 63}]),
        lie(files=[{"path": "a", "size": 1, "sha256": "../" + "0" * 61}]),
        lie(files=[{"path": str(n), "size": 1, "sha256": "0" * 64} for n in range(5000)]),
        lie(name="../step-1"),
        lie(name=".part"),
        lie(name=None),
        lie(step=-1),
        lie(step=1.5),
        lie(made="now"),
        lie(made=float("inf")),
        lie(score=float("nan")),
        lie(score="best"),
        lie(v=2),
        [],
        None,
    ],
)  # fmt: skip
def test_manifests_that_lie_are_refused(value: Any) -> None:
    with pytest.raises(BadCheckpoint):
        parse(json.dumps(value))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(BadCheckpoint):
        parse(data)


steps = st.lists(
    st.tuples(st.integers(0, 50), st.none() | st.floats(-1, 1)), max_size=8, unique_by=lambda s: s[0]
)


@given(steps, st.integers(0, 4), st.booleans())
def test_the_rule_keeps_the_newest_and_the_best_and_no_more(
    made: list[tuple[int, float | None]], count: int, best: bool
) -> None:
    all_of_them = [Checkpoint(str(step), step, 1.0, score, GOOD.files) for step, score in made]
    kept = wanted(all_of_them, count, best)
    assert [c.step for c in kept[:count]] == sorted((step for step, _ in made), reverse=True)[:count]
    scores = [score for _, score in made if score is not None]
    if best and scores:
        assert max(scores) in [c.score for c in kept]
    assert len(kept) <= count + (best and bool(scores))
    assert len(set(names(kept))) == len(kept)


def test_an_exported_model_is_kept_and_takes_no_checkpoints_place() -> None:
    def made(name: str, step: int) -> Checkpoint:
        return Checkpoint(name, step, float(step), None, ())

    found = [made("step-1", 1), made("step-2", 2), made("merged", 2), made("adapter", 2)]
    assert [c.name for c in wanted(found, 1, best=True)] == ["step-2", "adapter", "merged"]
