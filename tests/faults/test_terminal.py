"""The cockpit in a real terminal (tmux), driven by its keys: watching a run, the app killed in the middle, looking
again, giving back."""

from __future__ import annotations

import shutil

import pytest

from .screen import Screen
from .world import World

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


def test_the_whole_way_by_keys(world: World, screens: list[Screen]) -> None:
    spec = world.write_spec(samples=60, pace=0.4)
    screens.append(screen := Screen(world, 120, 40, "up", str(spec)))
    screen.wait("1 Fleet", "3 Run", "Accuracy", "95% Wilson", "/ 60", seconds=60)
    screen.keys("1")
    name = world.session.name
    screen.wait("Sessions  1", name, "$1.00/h")
    screen.keys("6")
    screen.wait("FOLLOW", "INFO  worker evaluate: 60 of 60 to do")
    screen.keys("3")
    screen.resize(80, 24)
    screen.wait("Accuracy", "right")
    screen.keys("x")
    screen.wait(f"{name}", "$1.00/h", "o")
    screen.keys("n")
    assert world.session.state == "running", "no is no"
    screen.keys("q")
    screen.wait("$1.00/h")
    screen.keys("Escape")
    screen.wait("Accuracy")

    app = next(p for p in world.processes() if "up" in p.cmdline() and "tmux" not in p.name())
    app.kill()
    assert world.driver().is_running(), "the run does not need the app"

    screens.append(again := Screen(world, 120, 40, "attach", name))
    again.wait("Accuracy", "/ 60")
    world.wait_state("terminated")
    again.wait("60 / 60", "complete", "✓ done", seconds=10)
    again.keys("q")
    again.wait("LEFT 0")
    world.assert_complete()
    world.assert_given_back()


def test_terminating_by_keys_brings_the_results_home(world: World, screens: list[Screen]) -> None:
    world.up_until(8, world.write_spec(samples=200, pace=0.3))
    world.keep_originals()
    screens.append(screen := Screen(world, 80, 24, "attach", world.session.name))
    screen.wait("Accuracy", "/ 200")
    screen.keys("x")
    screen.wait("pull", world.session.name)
    screen.keys("p")
    screen.wait("■ run stopped", "✓ end")
    screen.keys("q")
    screen.wait("LEFT 0")
    world.assert_identical()
    world.assert_given_back()
    assert world.run.status == "stopped"


def test_without_sessions_it_says_how_to_begin(world: World, screens: list[Screen]) -> None:
    screens.append(screen := Screen(world, 80, 24))
    screen.wait("No sessions yet", "gpusess demo")
    screen.keys("q")
    screen.wait("LEFT 0")


def test_a_tiny_terminal_gets_one_honest_line(world: World, screens: list[Screen]) -> None:
    screens.append(screen := Screen(world, 50, 10, "attach"))
    screen.wait("$0.00/h")
    screen.resize(120, 40)
    screen.wait("No sessions yet")
