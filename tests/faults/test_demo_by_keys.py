"""`gpusess demo` in a real terminal, all of it by its keys: every screen, a filter, the wizard, terminating, leaving."""

from __future__ import annotations

import shutil
import time

import pytest

from .screen import Screen
from .world import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.model,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


def test_the_whole_demo_by_its_keys(world: World, screens: list[Screen]) -> None:
    screens.append(screen := Screen(world, 120, 40, "demo", "--limit", "6", "--price", "1", "--keep"))
    screen.wait("Accuracy", "6 / 6", "complete", seconds=400)
    name = world.session.name

    seen = {}
    for key, words in {"1": "Sessions  1", "2": name, "3": "Accuracy", "4": name, "5": "VERDICT", "6": "FOLLOW",
                       "7": name, "8": "$", "c": "ompare"}.items():  # fmt: skip
        screen.keys(key)
        time.sleep(1.0)  # some words are on the screen before, too
        seen[key] = screen.wait(words, "Fleet")
        assert "LEFT" not in seen[key]
    bodies = ["\n".join(text.splitlines()[2:-1]) for text in seen.values()]
    assert len(set(bodies)) == len(bodies), "each screen shows something of its own"

    screen.keys("1")
    screen.wait("Sessions  1", name)
    screen.keys("/")
    time.sleep(0.5)
    screen.keys("z", "z")
    screen.wait("No session passes this filter")
    screen.keys("Escape")
    screen.wait("Sessions  1", name)
    screen.keys("n")
    screen.wait("New session")
    screen.keys("Escape")
    screen.wait("Sessions  1", name)

    screen.keys("q")
    screen.wait("Leave?", "$1.00/h")
    screen.keys("n")
    screen.keys("x")
    screen.wait("Terminate?", name)
    screen.keys("n")
    screen.wait("Sessions  1")
    assert world.session.state == "ready", "no is no"
    screen.keys("x")
    screen.wait("Terminate?")
    screen.keys("p")
    world.wait_state("terminated")
    screen.wait("✓ done", seconds=20)
    screen.keys("q")
    screen.wait("LEFT 0")
    world.assert_given_back()
