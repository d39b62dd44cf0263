"""The worker dies: killed from outside at any moment, or by a sample that it cannot survive."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from .world import World

pytestmark = pytest.mark.slow


def test_undisturbed(world: World) -> None:
    """What all other tests compare with."""
    world.gpusess("up", str(world.write_spec(pace=0.0, candidates=2)), "--headless")
    world.assert_complete()
    world.assert_given_back()
    assert len(world.instances()) == 1


@pytest.mark.parametrize(
    ("kills", "samples", "candidates", "pace"),
    [pytest.param(8, 60, 1, 0.3, marks=pytest.mark.sample), pytest.param(50, 300, 3, 0.15)],
)
def test_worker_killed_at_random_moments(
    world: World, kills: int, samples: int, candidates: int, pace: float
) -> None:
    chance = random.Random(kills)
    world.up_until(1, world.write_spec(samples, pace=pace, candidates=candidates))
    world.keep_originals()
    pid = 0
    for number in range(kills):
        worker = world.worker(not_pid=pid)
        if number % 4 == 0:  # six deaths in a row without a result end a run
            known = world.done()
            world.wait(lambda known=known: world.done() > known, "a result")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 1))
        worker.kill()
        pid = worker.pid
    world.wait_state("terminated", "failed", seconds=120)
    world.assert_complete()
    world.assert_identical()
    crashes = [r for r in world.records() if r["kind"] == "crash"]
    # A worker that dies before it has opened the journal leaves no record of its own.
    assert kills // 3 < len(crashes) <= kills
    assert all(r["cause"] == "SIGKILL" and not r["blamed"] for r in crashes)
    exits = [r["cause"] for r in world.records("events.jsonl") if r["kind"] == "worker_exited"]
    assert exits == ["SIGKILL"] * kills + ["exit 0"]
    world.assert_given_back()


_HOOK = '''
"""Lets the recorded engine die when it is given one of the samples named in KILLERS."""
import os
import signal
import sys
from importlib.machinery import PathFinder

TARGET = "remote_agent.engines.recorded"
KILLERS = set(os.environ.get("KILLERS", "").split())


class Poison:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != TARGET:
            return None
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            if module.__name__ == TARGET:
                spoil(module.RecordedEngine)

        spec.loader.exec_module = exec_module
        return spec


def spoil(engine):
    generate = engine.generate

    def spoiled(self, prompts):
        if KILLERS & {prompt.sample for prompt in prompts}:
            os.kill(os.getpid(), signal.SIGSEGV)
        return generate(self, prompts)

    engine.generate = spoiled


sys.meta_path.insert(0, Poison)
'''


@pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.sample), 2])
def test_a_sample_that_kills_its_worker_costs_only_itself(world: World, number: int, tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(_HOOK)
    world.write_spec(samples=16)
    killers = [sample for sample, _ in world.expected][5 : 5 + number]
    spec = world.write_spec(
        samples=16,
        pace=0.0,
        sync={"push": [{"from": "hook", "to": "hook"}]},
        env={"PYTHONPATH": "hook", "KILLERS": " ".join(killers)},
    )
    said = world.gpusess("up", str(spec), "--headless")
    world.assert_complete(failed=killers)
    world.assert_given_back()
    named = {r["sample"]: r for r in world.records() if r["kind"] == "failed"}
    for killer in killers:
        assert named[killer]["crashes"] == 3
        assert "SIGSEGV" in named[killer]["error"]
    assert f"{number} failed" in said
    assert world.status()["runs"][0]["failed"] == number
