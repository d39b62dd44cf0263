"""The copy at home is damaged while nobody looks: it is kept aside, and a whole one is fetched."""

from __future__ import annotations

import pytest

from .world import World

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", ["by its driver", "by pull"])
def test_a_damaged_copy_is_fetched_anew(world: World, how: str) -> None:
    kept = {"after": "keep"} if how == "by pull" else {}
    world.up_until(8, world.write_spec(40, pace=0.3, **kept))
    world.wait(lambda: len(world.records()) > 10, "records at home")
    if how == "by pull":
        world.wait_state("ready")
    world.kill_driver()
    path = world.mirror / "journal.jsonl"
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b'"verdict":"') + 12] ^= 1
    path.write_bytes(damaged)
    if how == "by pull":
        world.gpusess("pull")
    else:
        world.gpusess("resume", "--detach")
        world.wait_state("terminated", "failed", seconds=60)
    world.assert_complete()
    (aside,) = world.mirror.glob("diverged-*")
    assert (aside / "journal.jsonl").read_bytes().startswith(damaged)
    assert path.read_bytes() != damaged
