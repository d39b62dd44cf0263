"""The link dies while a run is followed: cut at any byte, or silent behind an open connection."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .relay import Relay
from .world import World

pytestmark = pytest.mark.slow


@contextmanager
def running_through_a_relay(world: World, samples: int, candidates: int, pace: float) -> Iterator[Relay]:
    """A running session whose driver reaches the instance through a relay only."""
    world.up_until(1, world.write_spec(samples, pace=pace, candidates=candidates))
    world.keep_originals()
    world.kill_driver()
    session = world.session
    assert session.endpoint
    with Relay(session.endpoint["port"]) as relay:
        world.store.update(session.id, endpoint={**session.endpoint, "port": relay.port})
        world.gpusess("resume", "--detach")
        world.wait(lambda: relay.connections, "a connection through the relay")
        yield relay


@pytest.mark.parametrize(
    ("cuts", "samples", "candidates"),
    [pytest.param(5, 200, 1, marks=pytest.mark.sample), pytest.param(20, 280, 3)],
)
def test_link_cut_while_streaming(world: World, cuts: int, samples: int, candidates: int) -> None:
    chance = random.Random(cuts)
    with running_through_a_relay(world, samples, candidates, pace=0.25) as relay:
        for _ in range(cuts):
            world.wait(lambda: relay.connections, "a connection")
            time.sleep(chance.uniform(0, 2))
            assert world.session.state == "running"
            relay.cut()
        world.wait_state("terminated", "failed", seconds=120)
        assert relay.accepted > cuts
    world.assert_identical()
    world.assert_complete()
    attempts = [r for r in world.records() if r["kind"] == "opened"]
    assert len(attempts) == 1, "the run went on by itself, whatever became of the link"
    world.assert_given_back()


def test_link_that_goes_silent(world: World) -> None:
    with running_through_a_relay(world, 200, 1, pace=0.8) as relay:
        time.sleep(1)
        relay.hold()
        world.wait(lambda: "connecting again" in world.story(), "the silence to be noticed", 40)
        relay.release()
        world.wait_state("terminated", "failed", seconds=120)
    world.assert_identical()
    world.assert_complete()
    world.assert_given_back()


def test_laptop_sleeps_and_catches_up(world: World) -> None:
    """The driver stands still, its link dies meanwhile, and the run goes on without it."""
    with running_through_a_relay(world, 200, 1, pace=0.4) as relay:
        before = relay.accepted
        driver = world.driver()
        driver.send_signal(signal.SIGSTOP)
        relay.cut()
        computed = world.done()
        time.sleep(16)  # Longer than any silence that is taken for a living link.
        assert world.done() > computed, "the run needs nobody at home"
        assert world.session.state == "running"
        driver.send_signal(signal.SIGCONT)
        world.wait(lambda: relay.accepted > before, "a new connection", 5)
        world.wait_state("terminated", "failed", seconds=120)
    world.assert_identical()
    world.assert_complete()
    world.assert_given_back()
