"""Checkpoints come home while a run goes on: over a real session, whose instance a helper writes them on."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from remote_agent import checkpoints
from remote_agent.checkpoints import folder, verify, whole
from remote_agent.manifest import BadCheckpoint

from .test_instance import lose_instance
from .world import REPOSITORY, World

pytestmark = pytest.mark.slow

WRITER = """
import random, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from remote_agent.checkpoints import begin, publish, keep
from tests.sync.test_tensors import safetensors
run, pause = Path(sys.argv[1]), float(sys.argv[3])
chance = random.Random(1)
weights = bytearray(chance.randbytes(4 << 20))
for step in range(int(sys.argv[4]), int(sys.argv[5])):
    for at in chance.sample(range(0, len(weights), 2), len(weights) // 40):
        weights[at] ^= 1
    aside = begin(run, f"step-{step}")
    (aside / "model.safetensors").write_bytes(safetensors({"layer": ("BF16", bytes(weights))}, note=f"{step}"))
    (aside / "optimizer.pt").write_bytes(chance.randbytes(300_000))
    publish(run, f"step-{step}", step, 1.0 if step == 2 else 0.1)
    print(step, flush=True)
    time.sleep(pause)
"""


@contextmanager
def writer(world: World, pause: float, first: int = 1, end: int = 7) -> Iterator[subprocess.Popen[str]]:
    """A process in the place of a training: it makes checkpoints on the instance."""
    args = [str(world.remote_run), str(REPOSITORY), str(pause), str(first), str(end)]
    process = subprocess.Popen([sys.executable, "-c", WRITER, *args], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def at_home(world: World) -> list[str]:
    """Their names; what has a name is verified."""
    found = []
    for made in whole(world.mirror):
        place = folder(world.mirror) / made.name
        try:
            found.append(verify(place).name)
        except BadCheckpoint:
            assert not place.exists(), "only one that was removed meanwhile is not whole"
    return found


@pytest.mark.sample
def test_they_come_while_the_run_goes_on(world: World) -> None:
    spec = world.write_spec(40, pace=0.8, sync={"checkpoints": {"keep": 2, "best": True}})
    world.up_until(1, spec)
    world.keep_originals()
    with writer(world, 1.0) as process:
        world.wait(lambda: "step-1" in at_home(world), "the first one at home", 15)
        assert world.session.state == "running"
        assert process.poll() is None, "before the last one is written"
        world.wait(lambda: "step-6" in at_home(world), "the last one at home", 30)
        originals = {made.name: made for made in whole(world.remote_run)}
    world.wait(lambda: at_home(world) == ["step-2", "step-5", "step-6"], "what the rule keeps")
    assert all(originals[made.name] == made for made in whole(world.mirror))
    assert world.session.state == "running"
    world.wait_state("terminated", "failed", seconds=60)
    log = (world.home / "sessions" / world.session.id / "driver.log").read_text()
    sent = float(log.rpartition("checkpoint step-6 ")[2].split("MB, ")[1].split(" MB sent")[0])
    assert sent < 1.2, "4.2 MB of weights as a difference, and 0.3 MB of noise"
    world.assert_identical()
    world.assert_complete()
    world.assert_given_back()


def test_the_end_waits_for_the_last_one(world: World) -> None:
    """One that is made right before the run ends is brought home before the instance goes."""
    world.up_until(1, world.write_spec(16, pace=0.5))
    world.keep_originals()
    world.kill_driver()
    with writer(world, 0.0, first=1, end=4) as process:
        assert process.wait(20) == 0
    world.gpusess("resume", "--detach")
    world.wait_state("terminated", "failed", seconds=60)
    assert at_home(world) == ["step-2", "step-3"], "the newest, and the best"
    world.assert_identical()
    world.assert_complete()
    world.assert_given_back()


def test_the_instance_dies_and_the_newest_goes_to_the_next(world: World) -> None:
    world.up_until(4, world.write_spec(60, pace=0.6))
    with writer(world, 0.5, end=5):
        world.wait(lambda: len(at_home(world)) == 2, "the best, and a newer one, at home")
        lose_instance(world)
    world.wait_state("failed")
    newest = whole(world.mirror)[-1]
    world.gpusess("resume", "--detach")
    world.wait_state("running")
    world.supervisor()  # By now it has all that the first instance had given.
    found, refused = checkpoints.newest_good(world.remote_run)
    assert found == newest
    assert not refused
    # The training would go on from it.
    with writer(world, 0.0, first=newest.step + 1, end=newest.step + 2) as process:
        assert process.wait(20) == 0
        world.wait(lambda: f"step-{newest.step + 1}" in at_home(world), "the next one at home")
    world.wait_state("terminated", "failed", seconds=120)
    world.assert_complete()
    world.assert_given_back()


def test_the_link_and_the_driver_die_while_they_come(world: World) -> None:
    chance = random.Random(3)
    world.up_until(1, world.write_spec(60, pace=0.8))
    world.keep_originals()
    with writer(world, 0.7, end=9) as process:
        for _ in range(4):
            time.sleep(chance.uniform(0.5, 2))
            world.kill_driver()
            at_home(world)  # Each that has its name is whole.
            world.gpusess("resume", "--detach")
        process.wait(30)
        world.wait(lambda: "step-8" in at_home(world), "the last one at home", 30)
    world.wait_state("terminated", "failed", seconds=120)
    world.assert_identical()
    world.assert_complete()
    world.assert_given_back()


def test_an_instance_that_lies_is_refused_and_said_so(world: World, tmp_path: Path) -> None:
    world.up_until(1, world.write_spec(24, pace=0.5))
    place = folder(world.remote_run) / "step-1"
    place.mkdir(parents=True)
    (place / "manifest.json").write_text(
        '{"v":1,"name":"step-1","step":1,"made":1.0,"score":null,'
        '"files":[{"path":"model.pt","size":5,"sha256":"' + "0" * 64 + '"}]}'
    )
    (place / "model.pt").write_bytes(b"evil!")
    world.wait_state("failed", seconds=60)
    assert "step-1/model.pt is not what the manifest says" in world.session.error
    assert at_home(world) == []
    facts = world.status()
    assert facts["bills"], "it is not given back: a person decides"
    world.gpusess("terminate", "--now", "--yes")
    world.assert_given_back()
