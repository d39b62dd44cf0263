"""What each provider's launch call puts into an instance, seen from outside: the SSH server answers with the minted host
key and lets the session's key in, and a machine that never got its user data is not spoken to."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from gpusess.errors import HostKeyMismatch, RemoteError
from gpusess.providers import PROVIDERS, open_provider
from gpusess.providers.base import Endpoint, Provider
from gpusess.providers.pacing import Pace
from gpusess.remote.ssh import Target, connect, mint_keypair

from .conftest import Start
from .requests import launch_request
from .serve import CLOUDS, cloud_class
from .ssh_hosts import may_use_port_22

NAMES = [name for name in CLOUDS if name in PROVIDERS]


@pytest.fixture(autouse=True)
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def turn(self: Pace) -> None: ...

    monkeypatch.setattr(Pace, "turn", turn)


async def launched(provider: Provider, key: Path) -> tuple[Target, Endpoint, str]:
    """An instance that is up: whom to connect to with the session's key, and its id."""
    private, public = mint_keypair("session")
    key.write_text(private)
    key.chmod(0o600)
    cheapest = min((o for o in await provider.offers() if o.available), key=lambda o: o.price)
    request = dataclasses.replace(launch_request(cheapest), client_public_key=public)
    made = await provider.launch(request)
    for _ in range(100):
        shown = await provider.get(made.id)
        if shown and shown.endpoint:
            return Target(shown.endpoint, [request.host_public_key], [key]), shown.endpoint, made.id
        await asyncio.sleep(0.1)
    raise AssertionError("it does not come up")


def needs(name: str) -> None:
    if cloud_class(name).port_22 and not may_use_port_22():
        pytest.skip("this cloud's instances are on port 22, which this user may not use here")


@pytest.mark.parametrize("name", NAMES)
async def test_the_minted_key_answers_and_only_the_session_may_log_in(
    start_cloud: Start, name: str, tmp_path: Path
) -> None:
    needs(name)
    sim = start_cloud(name, ssh=True)
    sim.control("set", image_key_first=0.0)
    provider = open_provider(name)
    target, endpoint, id = await launched(provider, tmp_path / "key")
    async with await connect(target) as connection:
        assert (await connection.check("echo here")).strip() == b"here"
    stranger, _ = mint_keypair("stranger")
    (tmp_path / "stranger").write_text(stranger)
    with pytest.raises(RemoteError, match="refused the login"):
        await connect(Target(endpoint, target.host_keys, [tmp_path / "stranger"]))
    await provider.terminate(id)
    await provider.close()


@pytest.mark.parametrize("name", NAMES)
async def test_without_its_user_data_nothing_is_sent(start_cloud: Start, name: str, tmp_path: Path) -> None:
    needs(name)
    sim = start_cloud(name, ssh=True)
    sim.control("set", ignore_user_data=True)
    provider = open_provider(name)
    target, _, id = await launched(provider, tmp_path / "key")
    with pytest.raises(HostKeyMismatch, match="nothing was sent"):
        await connect(target)
    await provider.terminate(id)
    await provider.close()
