"""Simulated clouds for tests, with nobody's settings and keys in the way, and the same end for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.cloud.client")

from .client import Simulator  # noqa: E402 (its assertions are to be explained too)

Start = Callable[..., Simulator]


@pytest.fixture
def start_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts simulated clouds and points gpusess at them.

    At the end: whatever happened, nothing of others was touched, and every call and answer was as the official
    document says (where it is there).
    """
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("GPUSESS_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    started: list[Simulator] = []

    def start(name: str, **more: Any) -> Simulator:
        sim = Simulator(name, tmp_path / f"sim-{name}-{len(started)}", **more)
        started.append(sim)
        for variable, value in sim.env.items():
            monkeypatch.setenv(variable, value)
        return sim

    yield start
    problems = []
    for sim in started:
        problems += [f"{sim.name}: {p}" for p in [*sim.touched(), *sim.violations()]]
        sim.close()
    assert not problems
