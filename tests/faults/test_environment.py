"""The environment that the bootstrap makes: once for the same requirements, and the run works in it."""

from __future__ import annotations

import pytest

from .world import World

pytestmark = pytest.mark.slow


def test_an_environment_is_made_and_used(world: World) -> None:
    spec = world.write_spec(samples=8, pace=0.0, setup={"requirements": ["six==1.16.0"]}, after="keep")
    said = world.gpusess("up", str(spec), "--headless", timeout=400)
    assert "making an environment with pydantic" in said
    assert world.run.status == "complete"
    python = world.session.options["python"]
    assert python.startswith(str(world.instance_folder / "home/.gpusess/envs/"))
    said = world.gpusess("ssh", world.session.id, python, "-c", '"import six; print(six.__version__)"')
    assert said.strip() == "1.16.0"
    world.gpusess("terminate", "--yes", world.session.id)
    world.assert_given_back()


def test_a_requirement_that_does_not_exist_is_named(world: World) -> None:
    spec = world.write_spec(samples=8, setup={"requirements": ["gpusess-no-such-package==9"]})
    said = world.gpusess("up", str(spec), "--headless", code=1, timeout=400)
    assert "gpusess-no-such-package==9" in said
    assert world.session.state == "failed"
    world.gpusess("terminate", "--yes", world.session.id)
    world.assert_given_back()
