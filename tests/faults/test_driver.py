"""The command and the process that drives a session die, in every state of the session and at any moment."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from gpusess.errors import SessionError

from .world import World

pytestmark = pytest.mark.slow

PHASES = [
    "requested",
    "launching",
    "booting",
    "connecting",
    "preparing",
    "ready",
    "running",
    "draining",
    "terminating",
]
SAMPLED = {"launching", "preparing", "terminating"}


def kill_all(command: subprocess.Popen[str]) -> None:
    """The command and the driver that it has started, if it has."""
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(command.pid).children(recursive=False)
        for process in [psutil.Process(command.pid), *family]:
            process.kill()
    command.communicate()


def kill_in(world: World, phase: str, spec: Path, later: float = 0.0) -> None:
    """Start a session and kill its processes on this machine once the store holds that state, or seconds later."""
    command = world.start("up", str(spec), "--headless")
    world.wait(lambda: world.store.sessions(), "a session")
    session = world.session.id
    deadline = time.monotonic() + 60
    while phase not in {t.state for t in world.store.transitions(session)}:
        assert time.monotonic() < deadline, world.story()
    time.sleep(later)
    kill_all(command)


def assert_resume_completes(world: World) -> None:
    """The front door finds the session, takes it up, and it ends as if nothing had been."""
    facts = world.status()
    assert not facts["driven"]
    world.gpusess("resume", "--headless")
    world.assert_complete()
    world.assert_given_back()
    assert not list(world.mirror.glob("diverged-*"))


@pytest.mark.parametrize(
    "phase", [pytest.param(p, marks=[pytest.mark.sample] if p in SAMPLED else []) for p in PHASES]
)
def test_killed_in_each_phase(world: World, phase: str) -> None:
    kill_in(world, phase, world.write_spec(samples=24, pace=0.2))
    if world.session.state == "terminated":
        pytest.skip("the session was over before it could be killed")
    assert_resume_completes(world)


@pytest.mark.parametrize("later", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_killed_in_the_middle_of_a_launch(world: World, later: float) -> None:
    kill_in(world, "launching", world.write_spec(samples=24, pace=0.0), later)
    assert_resume_completes(world)


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.sample), *range(1, 8)])
def test_killed_at_a_random_moment(world: World, seed: int) -> None:
    command = world.start("up", str(world.write_spec(samples=24, pace=0.2)), "--headless")
    time.sleep(random.Random(seed).uniform(0, 3))
    kill_all(command)
    try:
        assert world.session
    except SessionError:
        assert not world.instances(), "nothing is rented before it is written down"
        return
    assert_resume_completes(world)


def test_killed_again_and_again(world: World) -> None:
    """Each driver gets a little further than the one before it."""
    chance = random.Random(1)
    command = world.start("up", str(world.write_spec(samples=120, pace=0.4)), "--headless")
    for _ in range(6):
        time.sleep(chance.uniform(1, 2.5))
        kill_all(command)
        command = world.start("resume", "--headless")
    said, _ = command.communicate(timeout=120)
    assert command.returncode == 0, said
    world.assert_complete()
    world.assert_given_back()
