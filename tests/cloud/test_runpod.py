"""RunPod against its simulator: what is sent, what comes back, and what ends a pod."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from gpusess.errors import AuthRefused, BadRequest, NoCapacity, ProviderFault, RateLimited, SpecError
from gpusess.providers.base import HasLeftovers, InstanceStatus, Offer, Provider, Stops
from gpusess.providers.pacing import Pace
from gpusess.providers.runpod import RunpodProvider

from .client import Simulator
from .conftest import Start
from .requests import launch_request


@pytest.fixture
def sim(start_cloud: Start) -> Simulator:
    made = start_cloud("runpod", ssh=True)
    made.control("set", boot=0, end=0)
    return made


async def _offer(provider: Provider, gpu: str = "RTX 4090", gpus: int = 1) -> Offer:
    return next(o for o in await provider.offers() if o.gpu == gpu and o.gpus == gpus and o.available)


async def test_offers_have_prices_and_stock_of_every_place(sim: Simulator) -> None:
    provider = RunpodProvider()
    offers = await provider.offers()
    h100 = {(o.region, o.gpus): o for o in offers if o.gpu == "H100 SXM"}
    assert h100["US-KS-2", 8].price == pytest.approx(23.92)
    assert h100["US-KS-2", 8].available
    assert not h100["EU-RO-1", 1].available
    assert h100["US-KS-2", 1].gpu_memory_gib == 80
    b200 = [o for o in offers if o.gpu == "B200"]
    assert {o.region for o in b200} == {"any"}
    assert not any(o.available for o in b200)
    cpu = next(o for o in offers if not o.gpu)
    assert (cpu.vcpus, cpu.memory_gib, cpu.price) == (4, 8.0, pytest.approx(0.12))
    await provider.close()


async def test_a_whole_life(sim: Simulator) -> None:
    provider = RunpodProvider()
    request = launch_request(await _offer(provider, gpus=2))
    made = await provider.launch(request)
    (listed,) = [i for i in await provider.list() if i.name == request.name]
    got = await provider.get(made.id)
    assert got
    assert got.status is InstanceStatus.RUNNING
    assert got.tags == listed.tags == request.tags
    assert (got.price, got.type, got.region) == (1.38, "2x NVIDIA GeForce RTX 4090", request.offer.region)
    assert got.created
    await provider.terminate(made.id)
    await provider.terminate(made.id)
    assert await provider.get(made.id) is None
    assert sim.billing() == []
    await provider.close()


async def test_the_pod_answers_with_the_minted_key_from_the_first_byte(sim: Simulator) -> None:
    provider = RunpodProvider()
    request = launch_request(await _offer(provider))
    made = await provider.get((await provider.launch(request)).id)
    assert made
    assert made.endpoint
    key = asyncssh.import_public_key(request.host_public_key)
    seen = await asyncssh.get_server_host_key(made.endpoint.host, made.endpoint.port)
    assert seen
    assert seen.public_data == key.public_data
    await provider.close()


async def test_stopped_pods_cost_no_gpu_and_start_again(sim: Simulator) -> None:
    provider = RunpodProvider()
    assert isinstance(provider, Stops)
    made = await provider.launch(launch_request(await _offer(provider)))
    await provider.stop(made.id)
    stopped = await provider.get(made.id)
    assert stopped
    assert (stopped.status, stopped.price, stopped.endpoint) == (InstanceStatus.STOPPED, 0.0, None)
    await provider.start(made.id)
    again = await provider.get(made.id)
    assert again
    assert again.status is InstanceStatus.RUNNING
    with pytest.raises(BadRequest, match="cannot start"):
        await provider.start(made.id)
    with pytest.raises(BadRequest, match="not found"):
        await provider.stop("n0such")
    await provider.close()


async def test_a_pod_ends_itself_with_a_key_that_can_do_nothing_else(sim: Simulator, tmp_path: Path) -> None:
    provider = RunpodProvider()
    made = await provider.launch(launch_request(await _offer(provider)))
    other = await provider.launch(launch_request(await _offer(provider), "gpusess-5e5510n2-1"))
    root = next(tmp_path.glob(f"sim-*/containers/{made.id}/root"))
    values = root / "etc/gpusess/end"
    assert values.stat().st_mode & 0o077 == 0
    tool = root / "usr/local/sbin/gpusess-end"
    ended = subprocess.run([tool], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [m["id"] for m in sim.billing()] == [other.id]
    values.write_text(values.read_text().replace(f"pods/{made.id}", f"pods/{other.id}"))
    refused = subprocess.run([tool], capture_output=True, text=True, timeout=30)
    assert refused.returncode != 0
    assert [m["id"] for m in sim.billing()] == [other.id]
    await provider.close()


async def test_network_volumes_are_left_over(sim: Simulator) -> None:
    provider = RunpodProvider()
    assert isinstance(provider, HasLeftovers)
    (volume,) = await provider.leftovers()
    assert (volume.kind, volume.size_gib, volume.region, volume.ours) == ("volume", 100, "EU-RO-1", False)
    await provider.close()


async def test_the_wrong_key_is_refused_with_a_next_step(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_wrong")
    provider = RunpodProvider()
    with pytest.raises(AuthRefused, match="refused the key") as caught:
        await provider.list()
    assert "console.runpod.io" in caught.value.hint
    assert "rpa_wrong" not in repr(caught.value) + repr(vars(provider))
    await provider.close()
    monkeypatch.delenv("RUNPOD_API_KEY")
    with pytest.raises(AuthRefused, match="RUNPOD_API_KEY"):
        RunpodProvider()


async def test_no_capacity_is_told_apart_from_a_wrong_request(sim: Simulator) -> None:
    provider = RunpodProvider()
    offer = await _offer(provider)
    sim.control("set", no_capacity=True)
    with pytest.raises(NoCapacity, match="no instances") as caught:
        await provider.launch(launch_request(offer))
    assert "--wait" in caught.value.hint
    with pytest.raises(BadRequest, match="name"):
        await provider.launch(replace(launch_request(offer), name=""))
    assert sim.machines() == []
    await provider.close()


@pytest.mark.parametrize(
    ("kind", "error"),
    [("429", RateLimited), ("429 plain", RateLimited), ("500", ProviderFault), ("502", ProviderFault),
     ("lost", ProviderFault), ("reset", ProviderFault)],
)  # fmt: skip
async def test_a_launch_is_sent_once(
    sim: Simulator, kind: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def turn(self: Pace) -> None: ...

    monkeypatch.setattr(Pace, "turn", turn)
    provider = RunpodProvider()
    offer = await _offer(provider)
    sim.arm(kind, "launch", when="after")
    with pytest.raises(error):
        await provider.launch(launch_request(offer))
    assert len(sim.calls("launch")) == 1
    assert [i.name for i in await provider.list() if i.tags.get("gpusess") == "5e5510n1"] == [
        "gpusess-5e5510n1-1"
    ]
    await provider.close()


async def test_secrets_and_keys_stay_out_of_sight(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    provider = RunpodProvider()
    request = launch_request(await _offer(provider))
    sim.arm("500", "launch")
    with pytest.raises(ProviderFault) as caught:
        await provider.launch(request)
    told = caplog.text + repr(request) + repr(caught.value) + repr(vars(provider))
    assert sim.cloud.key not in told
    assert "PRIVATE KEY" not in told
    assert sim.cloud.key not in os.popen("ps -eo args").read()
    await provider.close()


def test_options_name_what_is_allowed(start_cloud: Start) -> None:
    start_cloud("runpod")
    with pytest.raises(SpecError, match=re.escape("no option color")) as caught:
        RunpodProvider({"color": "red"})
    assert "min_cuda" in caught.value.hint


async def test_a_volume_and_another_image(sim: Simulator) -> None:
    provider = RunpodProvider({"image": "org/own:1", "volume": "vol8fj2k", "cloud": "any", "disk": 20})
    await provider.launch(launch_request(await _offer(provider)))
    (machine,) = sim.machines()
    assert machine["facts"]["image"] == "org/own:1"
    assert machine["facts"]["mounts"] == {"network": [{"volumeId": "vol8fj2k", "path": "/workspace"}]}
    assert "minCudaVersion" not in machine["facts"]["gpu"]
    await provider.close()
