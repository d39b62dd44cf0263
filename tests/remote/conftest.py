"""A local instance with the agent on it, reached over SSH."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpusess.providers.base import LaunchRequest
from gpusess.providers.local import LocalProvider
from gpusess.remote.agent import Agent
from gpusess.remote.ssh import Connection, Target, connect, mint_keypair
from tests.remote.machine import Machine, running

RUN = "run-1"


@dataclass
class Remote:
    """A local instance with the agent on it, and the run's folder as the instance sees it."""

    connection: Connection
    agent: Agent
    run: Path
    home: Path
    target: Target


@pytest.fixture
async def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Remote]:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path / "cache"))
    provider = LocalProvider()
    private, public = mint_keypair("client")
    host_private, host_public = mint_keypair("host")
    key = tmp_path / "key"
    key.write_text(private)
    key.chmod(0o600)
    (offer,) = await provider.offers()
    instance = await provider.launch(LaunchRequest("gpusess-x-1", offer, public, host_private, {}, 60.0))
    assert instance.endpoint
    target = Target(instance.endpoint, [host_public], [key])
    connection = await connect(target)
    try:
        agent = Agent(connection, lambda _: None)
        assert await agent.install()
        facts = await agent.use_python("python3")
        home = Path(facts["home"])
        run = home / ".gpusess/runs" / RUN
        run.mkdir(parents=True)
        yield Remote(connection, agent, run, home, target)
    finally:
        await connection.close()
        await provider.terminate(instance.id)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """An OpenSSH server."""
    with running(tmp_path) as found:
        yield found
