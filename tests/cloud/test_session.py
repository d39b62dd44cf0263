"""One whole session on each simulated cloud, through the front door: `gpusess up` rents, connects with the injected
host key, runs the real agent over recorded answers, brings everything home and gives the instance back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.world import World

from .conftest import Start
from .serve import CLOUDS, cloud_class
from .ssh_hosts import may_use_port_22


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "world").mkdir()
    made = World(tmp_path / "world")
    try:
        yield made
    finally:
        made.close()


def needs(name: str) -> None:
    if cloud_class(name).port_22 and not may_use_port_22():
        pytest.skip("this cloud's instances are on port 22, which this user may not use here")


@pytest.mark.parametrize("name", CLOUDS)
def test_a_whole_session(start_cloud: Start, world: World, name: str) -> None:
    needs(name)
    sim = start_cloud(name, ssh=True)
    spec = world.write_spec(samples=12, pace=0.0, resources={"provider": name})
    said = world.gpusess("up", str(spec), "--headless", timeout=180)
    world.assert_complete()
    assert world.session.state == "terminated"
    assert sim.billing() == [], said
    assert len(sim.machines()) == 1
    assert len(sim.calls("launch")) == 1
    assert all(intent.settled for intent in world.store.intents(world.session.id))
    texts = [p.read_text(errors="replace") for p in world.home.rglob("*.log")] + [said]
    assert sim.cloud.key not in "".join(texts)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOUDS)
def test_the_images_own_key_is_never_spoken_to(start_cloud: Start, world: World, name: str) -> None:
    """While the image's key answers nothing is sent; when the minted one has replaced it the session goes on."""
    needs(name)
    sim = start_cloud(name, ssh=True)
    sim.control("set", image_key_first=9.0)
    spec = world.write_spec(samples=12, pace=0.0, resources={"provider": name})
    world.gpusess("up", str(spec), "--headless", timeout=180)
    world.assert_complete()
    log = (world.home / "sessions" / world.session.id / "driver.log").read_text()
    assert "another machine answers" in log
    assert sim.billing() == []
