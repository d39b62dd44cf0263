"""Checkpoints on their way home: whole or not at all, as differences where that pays, and nothing of a liar's."""

from __future__ import annotations

import json
import random
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpusess.errors import SyncError, Unreachable
from gpusess.sync import checkpoints as sync
from gpusess.sync.checkpoints import drop_stale, listing, missing, pull, refresh_scores
from gpusess.sync.progress import Progress
from gpusess.sync.wire import Frame
from remote_agent import checkpoints
from remote_agent.checkpoints import begin, folder, publish, verify, whole
from remote_agent.manifest import Checkpoint, to_value
from remote_agent.syncing import differences, sending
from remote_agent.syncing.store import Refused

from .test_tensors import safetensors, trained

RUN = ".gpusess/runs/r"


class Answer:
    def __init__(self, frames: deque[Frame]) -> None:
        self._frames = frames

    def abandon(self) -> None:
        self._frames.clear()

    async def next(self) -> Frame:
        header, payload = self._frames.popleft()
        if header.get("broken"):
            raise Unreachable("the link broke")
        return header, payload

    def ready(self) -> list[Frame]:
        return []


class Instance:
    """The agent's side on a folder, as channels give it: what is asked is answered at once."""

    codec = "none"

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run = home / RUN
        self.asked: list[dict[str, Any]] = []
        self.sent = 0
        self.break_after: int | None = None
        """Frames of an answer after which the link breaks."""
        self.manifests: list[Any] | None = None
        """Said instead of the truth."""

    def wanted(self, size: int) -> int:
        return 1

    async def channel(self, number: int) -> Instance:
        return self

    async def ask(self, op: str, payload: bytes = b"", **facts: Any) -> Frame:
        return await (await self.send(op, payload, **facts)).next()

    async def send(self, op: str, payload: bytes = b"", **facts: Any) -> Answer:
        self.asked.append({"op": op, **facts})
        frames: deque[Frame] = deque()
        if op == "checkpoints":
            found = self.manifests
            if found is None:
                found = differences.manifests(self.home / facts["path"])
            frames.append(({"codec": "none"}, json.dumps(found).encode()))
            return Answer(frames)
        if op == "read":
            sending.send_blocks(self.home / facts["path"], facts, payload, lambda h, d: frames.append((h, d)))
            return self._cut_off(frames)
        try:
            old = self.home / facts["old"] if facts["old"] else None
            differences.send_pieces(self.home / facts["new"], old, facts, lambda h, d: frames.append((h, d)))
        except Refused as error:
            raise SyncError(str(error)) from error
        return self._cut_off(frames)

    def _cut_off(self, frames: deque[Frame]) -> Answer:
        if self.break_after is not None:
            frames = deque([*list(frames)[: self.break_after], ({"broken": True}, b"")])
        self.sent += sum(len(data) for _, data in frames)
        return Answer(frames)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path / "instance")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def save(run: Path, step: int, weights: bytes, score: float | None = None) -> Checkpoint:
    aside = begin(run, f"step-{step}")
    model = safetensors({"layer": ("BF16", weights)}, note=f"step {step}")
    (aside / "model.safetensors").write_bytes(model)
    (aside / "tokenizer").mkdir()
    (aside / "tokenizer/tokenizer.json").write_bytes(b"{}" * 10_000)
    return publish(run, f"step-{step}", step, score)


async def test_it_comes_home_whole(instance: Instance, home: Path) -> None:
    made = save(instance.run, 1, random.Random(0).randbytes(3 << 20))
    progress = Progress()
    pulled = await pull(instance, RUN, made, home, progress)
    assert verify(folder(home) / "step-1") == made
    assert (progress.sent, progress.total) == (made.bytes, made.bytes)
    assert pulled.received == instance.sent
    assert str(pulled).startswith("checkpoint step-1 (step 1) is at home: 3.2 MB, 3.2 MB sent, ")
    assert pulled.how == "2 files whole"


async def test_the_next_one_comes_as_a_difference(instance: Instance, home: Path) -> None:
    before, after = trained(0.08)
    await pull(instance, RUN, save(instance.run, 1, before), home)
    instance.sent = 0
    made = save(instance.run, 2, after)
    progress = Progress()
    pulled = await pull(instance, RUN, made, home, progress)
    assert pulled.how == "1 file as what differs from step-1, 1 not sent: step-1 has it too"
    assert verify(folder(home) / "step-2") == made
    assert instance.sent < 0.1 * made.bytes
    assert progress.spared == 20_000, "the tokenizer is the same file"


async def test_a_pull_that_was_cut_off_goes_on(instance: Instance, home: Path) -> None:
    made = save(instance.run, 1, random.Random(0).randbytes(8 << 20))
    instance.break_after = 6
    with pytest.raises(Unreachable):
        await pull(instance, RUN, made, home)
    assert whole(home) == []
    first, instance.sent, instance.break_after = instance.sent, 0, None
    progress = Progress()
    await pull(instance, RUN, made, home, progress)
    assert verify(folder(home) / "step-1") == made
    assert first + instance.sent == made.bytes, "nothing was sent twice"
    assert progress.total == progress.sent + progress.spared == made.bytes


@pytest.mark.parametrize("lie", [False, True])
async def test_a_large_file_comes_in_blocks_and_is_held_against_the_manifest(
    instance: Instance, home: Path, monkeypatch: pytest.MonkeyPatch, lie: bool
) -> None:
    monkeypatch.setattr(sync, "LARGE", 1 << 20)
    made = save(instance.run, 1, random.Random(0).randbytes(5 << 20))
    if lie:
        files = tuple(replace(file, sha256="0" * 64) for file in made.files)
        with pytest.raises(SyncError, match="not what the manifest says"):
            await pull(instance, RUN, replace(made, files=files), home)
        assert whole(home) == []
        return
    instance.break_after = 3
    with pytest.raises(Unreachable):
        await pull(instance, RUN, made, home)
    instance.break_after = None
    progress = Progress()
    await pull(instance, RUN, made, home, progress)
    assert verify(folder(home) / "step-1") == made
    assert progress.total == progress.sent + progress.spared == made.bytes
    assert [path.name for path in folder(home).iterdir()] == ["step-1"]


async def test_what_an_earlier_pull_left_is_not_trusted(instance: Instance, home: Path) -> None:
    made = save(instance.run, 1, random.Random(0).randbytes(2 << 20))
    part = checkpoints.aside_of(home, "step-1")
    part.mkdir(parents=True)
    (part / "model.safetensors").write_bytes(b"torn by a power cut" * 1000)
    await pull(instance, RUN, made, home)
    assert verify(folder(home) / "step-1") == made


async def test_a_damaged_copy_at_home_costs_bytes_and_no_more(instance: Instance, home: Path) -> None:
    before, after = trained(0.05, size=1 << 20)
    await pull(instance, RUN, save(instance.run, 1, before), home)
    damaged = folder(home) / "step-1/model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    made = save(instance.run, 2, after)
    progress = Progress()
    pulled = await pull(instance, RUN, made, home, progress)
    assert verify(folder(home) / "step-2") == made
    assert instance.sent > 2 << 20, "the second try is not said by what is at home"
    assert pulled.how.startswith("1 file whole")
    assert progress.total == progress.sent + progress.spared > made.bytes, "it came twice, and is counted so"


async def test_one_of_the_same_name_is_replaced_once_the_new_one_is_whole(
    instance: Instance, home: Path
) -> None:
    await pull(instance, RUN, save(instance.run, 1, b"ab" * 500), home)
    checkpoints.discard(instance.run, "step-1")
    made = save(instance.run, 1, b"cd" * 500)
    assert missing(home, whole(instance.run), 1, best=False) == [made]
    await pull(instance, RUN, made, home)
    assert verify(folder(home) / "step-1") == made


async def test_a_full_disk_is_said_before_anything_comes(
    instance: Instance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = save(instance.run, 1, b"ab" * 500)
    monkeypatch.setattr(sync, "ROOM", 1 << 60)
    with pytest.raises(SyncError, match="and this disk has") as caught:
        await pull(instance, RUN, made, home)
    assert "keep fewer" in caught.value.hint
    assert instance.sent == 0


# --- an instance that lies ---


def good_value() -> dict[str, Any]:
    file = {"path": "model.pt", "size": 3, "sha256": "0" * 64}
    return {"v": 1, "name": "step-1", "step": 1, "made": 1.0, "score": None, "files": [file]}


@pytest.mark.parametrize("path", ["../../../evil", "/tmp/evil", "a/../../evil", "manifest.json", "a\x1b[0m"])
async def test_names_that_leave_the_folder_are_refused(instance: Instance, home: Path, path: str) -> None:
    value = good_value()
    value["files"][0]["path"] = path
    instance.manifests = [value]
    with pytest.raises(SyncError, match="refused") as caught:
        await listing(instance, RUN)
    assert "\x1b" not in str(caught.value)
    assert "nothing of it was written" in caught.value.hint


@pytest.mark.parametrize("value", [[1], {"a": 1}, [None], "x", 7, [[[]]], [{"v": 1}]])
async def test_lists_that_make_no_sense_are_refused(instance: Instance, value: Any) -> None:
    instance.manifests = value
    with pytest.raises(SyncError):
        await listing(instance, RUN)


@pytest.mark.parametrize("how", ["hash", "longer", "shorter"])
async def test_files_that_are_not_as_the_manifest_says_never_count(
    instance: Instance, home: Path, how: str
) -> None:
    made = save(instance.run, 1, random.Random(0).randbytes(1 << 20))
    file = next(f for f in made.files if f.path == "model.safetensors")
    lies = {
        "hash": replace(file, sha256="0" * 64),
        "longer": replace(file, size=file.size - 1),
        "shorter": replace(file, size=file.size + 1),
    }
    told = replace(made, files=tuple(lies[how] if f == file else f for f in made.files))
    instance.manifests = [to_value(told)]
    with pytest.raises(SyncError, match="manifest"):
        await pull(instance, RUN, told, home)
    assert whole(home) == []
    assert not list(home.rglob("manifest.json"))


async def test_a_file_that_became_a_link_is_not_followed(
    instance: Instance, home: Path, tmp_path: Path
) -> None:
    made = save(instance.run, 1, b"ab" * 500)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    model = folder(instance.run) / "step-1/model.safetensors"
    model.unlink()
    model.symlink_to(secret)
    with pytest.raises(SyncError):
        await pull(instance, RUN, made, home)
    assert whole(home) == []


async def test_a_link_at_home_is_not_written_through(instance: Instance, home: Path, tmp_path: Path) -> None:
    made = save(instance.run, 1, b"ab" * 500)
    part = checkpoints.aside_of(home, "step-1")
    part.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (part / "model.safetensors").symlink_to(victim)
    with pytest.raises(SyncError):
        await pull(instance, RUN, made, home)
    assert victim.read_text() == "mine"


# --- which ones ---


async def test_what_the_rule_wants_is_missing_until_it_is_here(instance: Instance, home: Path) -> None:
    there = [save(instance.run, step, b"ab" * 500, score) for step, score in ((1, 0.9), (2, 0.1), (3, 0.2))]
    assert [m.name for m in missing(home, there, 1, best=True)] == ["step-3", "step-1"]
    await pull(instance, RUN, there[2], home)
    assert [m.name for m in missing(home, there, 1, best=True)] == ["step-1"]
    assert missing(home, there, 0, best=False) == []


async def test_an_older_instance_does_not_bring_back_older_ones(instance: Instance, home: Path) -> None:
    """A new instance that was given step 1 only must not have it pulled beside a newer one at home."""
    there = [save(instance.run, step, b"ab" * 500) for step in (1, 2)]
    await pull(instance, RUN, there[1], home)
    assert missing(home, there[:1], 1, best=True) == []


async def test_a_score_that_was_measured_later_comes_too(instance: Instance, home: Path) -> None:
    await pull(instance, RUN, save(instance.run, 1, b"ab" * 500), home)
    scored = checkpoints.set_score(instance.run, "step-1", 0.5)
    refresh_scores(home, whole(instance.run))
    assert verify(folder(home) / "step-1") == scored


def test_parts_of_what_is_gone_are_removed(home: Path) -> None:
    for name in ("step-1", "step-2"):
        (checkpoints.aside_of(home, name)).mkdir(parents=True)
    drop_stale(home, [Checkpoint("step-2", 2, 1.0, None, ())])
    assert [path.name for path in folder(home).iterdir()] == [".step-2.part"]
