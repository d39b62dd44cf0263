"""The supervisor dies, and the worker with it."""

from __future__ import annotations

import pytest

from .world import World

pytestmark = pytest.mark.slow


def kill_supervisor(world: World) -> None:
    worker, supervisor = world.worker(), world.supervisor()
    supervisor.kill()
    world.wait(lambda: not worker.is_running() or worker.status() == "zombie", "the worker's end", 5)


def assert_taken_up_again(world: World) -> None:
    world.assert_complete()
    world.assert_identical()
    starts = [r["pid"] for r in world.records("events.jsonl") if r["kind"] == "supervisor"]
    assert len(starts) == 2
    world.assert_given_back()
    assert len(world.instances()) == 1


@pytest.mark.sample
def test_driver_starts_a_dead_supervisor_again(world: World) -> None:
    world.up_until(4, world.write_spec(samples=24, pace=0.2))
    world.keep_originals()
    kill_supervisor(world)
    world.wait_state("terminated", "failed")
    assert_taken_up_again(world)


@pytest.mark.sample
def test_resume_starts_a_dead_supervisor_again(world: World) -> None:
    world.up_until(4, world.write_spec(samples=40, pace=0.2))
    world.keep_originals()
    world.kill_driver()
    kill_supervisor(world)
    facts = world.status()
    assert not facts["driven"]
    assert facts["bills"]
    assert "cut off" in world.gpusess("status", world.session.name)
    world.gpusess("resume", "--headless")
    assert_taken_up_again(world)
