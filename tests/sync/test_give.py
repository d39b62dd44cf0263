"""A checkpoint on its way to an instance: whole, as files of the run's own, and gone from the disk when removed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gpusess.errors import SyncError, Unreachable
from gpusess.sync.checkpoints import give, listing
from gpusess.sync.files import read_files
from gpusess.sync.push import push
from remote_agent.checkpoints import begin, discard, folder, newest_good, publish, set_score, verify, whole
from remote_agent.manifest import Checkpoint

from .conftest import Agents

RUN = ".gpusess/runs/r"
MIB = 1 << 20


def save(run: Path, step: int, size: int = 9 * MIB) -> Checkpoint:
    aside = begin(run, f"step-{step}")
    (aside / "model.safetensors").write_bytes(random.Random(step).randbytes(size))
    (aside / "state").mkdir()
    (aside / "state/optimizer.pt").write_bytes(b"x" * 1000)
    return publish(run, f"step-{step}", step, 0.5)


def taken(root: Path) -> int:
    """Bytes of the files below a folder, each file once, whatever the number of its names."""
    found = (path.lstat() for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return sum({stat.st_ino: stat.st_size for stat in found}.values())


async def test_it_is_the_runs_own_and_removing_it_frees_the_disk(tmp_path: Path, agents: Agents) -> None:
    home, run = tmp_path / "run", agents.home / RUN
    made = save(home, 4)
    run.mkdir(parents=True)
    await give(agents, RUN, made.name, home)
    place = folder(run) / made.name
    assert place.is_dir()
    assert not place.is_symlink()
    assert verify(place) == made
    assert newest_good(run) == (made, [])
    assert await listing(agents, RUN) == [made]
    assert set_score(run, made.name, 0.7).score == 0.7
    assert verify(folder(home) / made.name).score == 0.5
    assert made.bytes < taken(agents.home) < made.bytes + 20_000, "it lies there once"
    discard(run, made.name)
    assert taken(agents.home) < 20_000
    assert list(run.rglob("*")) == [folder(run)]

    await give(agents, RUN, made.name, home)
    assert verify(place) == made


async def test_what_others_use_of_it_stays(tmp_path: Path, agents: Agents) -> None:
    """The same folder was sent as data, too: that place keeps it."""
    home, run = tmp_path / "run", agents.home / RUN
    made = save(home, 4)
    run.mkdir(parents=True)
    await push(read_files(folder(home) / made.name), "data/model", agents)
    await give(agents, RUN, made.name, home)
    assert verify(folder(run) / made.name) == made
    discard(run, made.name)
    model = (agents.home / "data/model/model.safetensors").read_bytes()
    assert model == (folder(home) / made.name / "model.safetensors").read_bytes()


async def test_one_that_is_cut_off_has_no_name_and_goes_on(tmp_path: Path, agents: Agents) -> None:
    home, run = tmp_path / "run", agents.home / RUN
    made = save(home, 4, 24 * MIB)
    run.mkdir(parents=True)

    async def broken_off() -> None:
        channel = await agents.channel(0)
        real = channel.send

        async def send(op: str, payload: bytes = b"", **facts: object) -> object:
            if agents.bytes_of("block") > 12 * MIB:
                agents.kill()
                await agents.broken()
            return await real(op, payload, **facts)

        channel.send = send
        with pytest.raises(Unreachable):
            await give(agents, RUN, made.name, home)

    await broken_off()
    assert whole(run) == []
    agents.sent.clear()
    await give(agents, RUN, made.name, home)
    assert agents.bytes_of("block") < 20 * MIB
    assert verify(folder(run) / made.name) == made


async def test_only_what_a_sync_has_put_there_is_made_ones_own(agents: Agents) -> None:
    channel = await agents.channel(0)
    (agents.home / "mine").mkdir()
    (agents.home / "link").symlink_to(agents.home / "mine")
    for place in ("mine", "link", "nothing"):
        with pytest.raises(SyncError, match="was not put there by a sync"):
            await channel.ask("own", place=place)
    assert (agents.home / "link").readlink() == agents.home / "mine"
