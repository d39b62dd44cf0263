"""Vast.ai against its simulator: asks, bids, errors that create, pages, and what ends a container."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh
import pytest

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    NoCapacity,
    ProviderFault,
    RateLimited,
)
from gpusess.providers import http
from gpusess.providers.base import HasLeftovers, InstanceStatus, Offer, Provider, Stops
from gpusess.providers.pacing import Pace
from gpusess.providers.vast import VastProvider

from .client import Simulator
from .conftest import Start
from .requests import launch_request


@pytest.fixture
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def turn(self: Pace) -> None: ...

    monkeypatch.setattr(Pace, "turn", turn)


@pytest.fixture
def sim(start_cloud: Start, unpaced: None) -> Simulator:
    made = start_cloud("vast", ssh=True)
    made.control("set", boot=0, end=0)
    return made


async def _offer(provider: Provider, gpus: int = 1, spot: bool = False) -> Offer:
    return next(
        o for o in await provider.offers() if o.gpu == "RTX 4090" and (o.gpus, o.spot) == (gpus, spot)
    )


async def test_offers_on_demand_and_by_bid(sim: Simulator) -> None:
    provider = VastProvider()
    offers = await provider.offers()
    found = {(o.gpu, o.gpus, o.spot): o for o in offers}
    assert set(found) == {
        (g, n, s) for g, n in (("RTX 4090", 1), ("RTX 4090", 4), ("H100 SXM", 8)) for s in (False, True)
    }
    one = found["RTX 4090", 1, False]
    assert (one.price, one.region, one.gpu_memory_gib, one.memory_gib) == (0.41, "US", 24.0, 62.5)
    bid = found["RTX 4090", 1, True]
    assert bid.detail["bid"] == pytest.approx(0.22)
    assert bid.price == pytest.approx(0.23), "what is bid is what is paid, and the disk"
    weak = await VastProvider({"reliability": 0.5, "image": "org/own"}).offers()
    assert {o.gpu for o in weak} == {"RTX 4090", "H100 SXM", "RTX 3060", "A100 SXM4"}
    await provider.close()


async def test_a_whole_life(sim: Simulator) -> None:
    provider = VastProvider()
    request = launch_request(await _offer(provider))
    made = await provider.launch(request)
    got = await provider.get(made.id)
    assert got
    assert got.status is InstanceStatus.RUNNING
    assert (got.name, got.tags, got.type, got.region) == (request.name, request.tags, "1x RTX 4090", "US")
    assert got.endpoint
    seen = await asyncssh.get_server_host_key(got.endpoint.host, got.endpoint.port)
    assert seen
    assert seen.public_data == asyncssh.import_public_key(request.host_public_key).public_data
    await provider.terminate(made.id)
    await provider.terminate(made.id)
    assert await provider.get(made.id) is None
    assert sim.billing() == []
    await provider.close()


async def test_ports_are_found_where_they_are_shown(sim: Simulator) -> None:
    """The document shows an instance's ports in the list, and by its number only bare numbers."""
    provider = VastProvider()
    made = await provider.launch(launch_request(await _offer(provider)))
    sim.control("bare_ports")
    got = await provider.get(made.id)
    assert got
    assert got.endpoint
    await provider.close()


async def test_every_page_of_the_list_is_read(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_TRIES", 2)
    provider = VastProvider()
    offer = await _offer(provider)
    sim.control("set", boot=0)
    for number in range(30):
        await provider.launch(launch_request(offer, f"gpusess-5e5510n1-{number}"))
    found = await provider.list()
    assert len([i for i in found if i.name.startswith("gpusess-5e5510n1")]) == 30
    assert len(found) == 32
    sim.arm("502", "list", nth=1, times=99)
    with pytest.raises(ProviderFault):
        await provider.list()
    await provider.close()


async def test_a_bid_that_is_too_low_is_refused_and_creates(sim: Simulator) -> None:
    provider = VastProvider()
    assert provider.abilities.refusals_create
    request = launch_request(await _offer(provider, spot=True))
    sim.control("bid_floor", times=2.0)
    with pytest.raises(ProviderFault, match="all the same"):
        await provider.launch(request)
    (left,) = [i for i in await provider.list() if i.name == request.name]
    assert left.status is InstanceStatus.PREEMPTED
    assert left.price > 0, "its disk bills"
    assert len(sim.billing()) == 1
    await provider.terminate(left.id)
    assert sim.billing() == []
    await provider.close()


async def test_a_spot_instance_that_was_outbid(sim: Simulator) -> None:
    provider = VastProvider()
    made = await provider.launch(launch_request(await _offer(provider, spot=True)))
    running = await provider.get(made.id)
    assert running
    assert (running.status, running.price) == (InstanceStatus.RUNNING, pytest.approx(0.22))
    sim.control("force", id=made.id, phase="preempted")
    beaten = await provider.get(made.id)
    assert beaten
    assert (beaten.status, beaten.endpoint) == (InstanceStatus.PREEMPTED, None)
    await provider.close()


async def test_stop_start_and_failure(sim: Simulator) -> None:
    provider = VastProvider()
    assert isinstance(provider, Stops)
    made = await provider.launch(launch_request(await _offer(provider)))
    await provider.stop(made.id)
    stopped = await provider.get(made.id)
    assert stopped
    assert (stopped.status, stopped.price) == (InstanceStatus.STOPPED, 0.004)
    await provider.start(made.id)
    sim.control("force", id=made.id, phase="failed")
    failed = await provider.get(made.id)
    assert failed
    assert (failed.status, failed.reason) == (InstanceStatus.FAILED, "Error: the container exited")
    with pytest.raises(BadRequest):
        await provider.stop("1")
    await provider.close()


async def test_an_ask_that_is_gone_is_no_capacity(sim: Simulator) -> None:
    provider = VastProvider()
    offer = await _offer(provider)
    sim.control("take", ask=offer.detail["ask"])
    with pytest.raises(NoCapacity, match="no_such_ask"):
        await provider.launch(launch_request(offer))
    sim.control("set", no_capacity=True)
    with pytest.raises(NoCapacity):
        await provider.launch(launch_request(await _offer(provider, gpus=4)))
    assert sim.machines() == []
    await provider.close()


async def test_the_wrong_key(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", "wr0ng-key")
    provider = VastProvider()
    for call in (provider.list(), provider.offers(), provider.get("1"), provider.terminate("1")):
        with pytest.raises(AuthRefused, match="Invalid user key") as caught:
            await call
        assert "wr0ng-key" not in repr(caught.value)
    await provider.close()


async def test_a_container_ends_itself_and_no_other(sim: Simulator, tmp_path: Path) -> None:
    provider = VastProvider()
    offer = await _offer(provider)
    made = await provider.launch(launch_request(offer))
    other = await provider.launch(launch_request(offer, "gpusess-5e5510n2-1"))
    root = next(tmp_path.glob(f"sim-*/containers/{made.id}/root"))
    tool, values = root / "usr/local/sbin/gpusess-end", root / "etc/gpusess/end"
    ended = subprocess.run([tool], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [m["id"] for m in sim.billing()] == [other.id]
    values.write_text(values.read_text().replace(f"instances/{made.id}", f"instances/{other.id}"))
    assert subprocess.run([tool], capture_output=True, timeout=30).returncode != 0
    assert [m["id"] for m in sim.billing()] == [other.id]
    await provider.close()


async def test_volumes_are_left_over(sim: Simulator) -> None:
    provider = VastProvider()
    assert isinstance(provider, HasLeftovers)
    (volume,) = await provider.leftovers()
    assert (volume.id, volume.size_gib, volume.price, volume.ours) == ("41", 200.0, 0.02, False)
    await provider.close()


@pytest.mark.parametrize("kind", ["429", "429 plain"])
async def test_too_many_requests(sim: Simulator, kind: str) -> None:
    provider = VastProvider()
    offer = await _offer(provider)
    sim.arm(kind, "launch")
    with pytest.raises(RateLimited, match=r"threshold=4\.5"):
        await provider.launch(launch_request(offer))
    assert len(sim.calls("launch")) == 1
    await provider.close()


async def test_the_market_never_finds_us_too_fast(start_cloud: Start) -> None:
    """Each kind of call keeps its own interval, for all providers of this machine together."""
    sim = start_cloud("vast")
    sim.control("pace")
    one, two = VastProvider(), VastProvider()
    await one.list()
    await two.list()
    await two.get("28000001")
    assert {c["status"] for c in sim.calls()} == {200}
    await one.close()
    await two.close()
