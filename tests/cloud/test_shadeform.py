"""Shadeform: our client against the simulated broker, its end by date, and refusals in our words."""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import datetime
from typing import Any

import pytest

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    NoCapacity,
    ProviderError,
    ProviderFault,
    QuotaExceeded,
    RateLimited,
    SpecError,
)
from gpusess.providers import open_provider
from gpusess.providers.base import EndsItself, HasLeftovers, InstanceStatus, MovesDeadline, Offer
from gpusess.providers.http import Refusal
from gpusess.providers.pacing import Pace
from gpusess.providers.shadeform import ShadeformProvider
from gpusess.providers.shadeform_wire import translate

from .conftest import Start
from .requests import launch_request


@pytest.fixture(autouse=True)
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def turn(self: Pace) -> None: ...

    monkeypatch.setattr(Pace, "turn", turn)


def shadeform(options: dict[str, Any] | None = None) -> ShadeformProvider:
    made = open_provider("shadeform", options)
    assert isinstance(made, ShadeformProvider)
    return made


async def cheapest(provider: ShadeformProvider) -> Offer:
    return min((o for o in await provider.offers() if o.available), key=lambda o: o.price)


async def test_offers_of_many_clouds_in_dollars(start_cloud: Start) -> None:
    start_cloud("shadeform")
    provider = shadeform()
    offers = {(o.name, o.region): o for o in await provider.offers()}
    assert set(offers) == {
        ("hyperstack/A6000", "canada-1"),
        ("hyperstack/A6000", "norway-1"),
        ("lambdalabs/H100x8", "us-west-1"),
        ("verda/H200", "finland-2"),
    }, "a container is no machine that could be given our host key"
    eight = offers["lambdalabs/H100x8", "us-west-1"]
    assert (eight.price, eight.gpu, eight.gpus, eight.gpu_memory_gib) == (23.92, "H100 SXM5", 8, 80.0)
    assert not offers["verda/H200", "finland-2"].available
    only = shadeform({"clouds": ["verda"]})
    assert {o.name for o in await only.offers()} == {"verda/H200"}
    with pytest.raises(SpecError, match="no option cloud"):
        shadeform({"cloud": "verda"})
    await provider.close()
    await only.close()


async def test_a_life_from_launch_to_end(start_cloud: Start) -> None:
    sim = start_cloud("shadeform")
    sim.control("set", boot=0.0, end=30.0)
    provider = shadeform({"os": "ubuntu22.04_cuda12.2", "spend_limit": 12.5})
    deadline = sim.clock.now() + 3600
    request = launch_request(await cheapest(provider), deadline=deadline)
    made = await provider.launch(request)
    sent = json.loads(sim.calls("launch")[0]["body"])
    assert (sent["os"], sent["shade_cloud"]) == ("ubuntu22.04_cuda12.2", True)
    assert sent["auto_delete"]["spend_threshold"] == "12.50"
    assert 0 <= datetime.fromisoformat(sent["auto_delete"]["date_threshold"]).timestamp() - deadline < 1.001
    script = base64.b64decode(sent["launch_configuration"]["script_configuration"]["base64_script"]).decode()
    assert request.host_private_key.strip() in script
    shown = await provider.get(made.id)
    assert shown
    assert (shown.status, shown.name, shown.tags) == (InstanceStatus.RUNNING, request.name, request.tags)
    assert (shown.price, shown.type) == (0.5, "hyperstack/A6000")
    assert shown.created == pytest.approx(sim.clock.now(), abs=30)
    assert shown.endpoint
    assert shown.endpoint.user == "shadeform"
    await provider.restart(made.id)
    await provider.terminate(made.id)
    await provider.terminate(made.id)
    ending = await provider.get(made.id)
    assert ending
    assert ending.status is InstanceStatus.TERMINATING
    sim.control("advance", seconds=3600)
    assert await provider.get(made.id) is None
    await provider.terminate(made.id)
    assert sim.billing() == []
    assert sim.control("keys") == [], "the launch's SSH key went with its instance"
    await provider.close()


async def test_it_ends_by_itself_at_its_deadline_which_can_be_moved(start_cloud: Start) -> None:
    """Nobody of ours is there any more: the provider ends it."""
    sim = start_cloud("shadeform")
    provider = shadeform()
    assert isinstance(provider, MovesDeadline)
    soon = sim.clock.now() + 600
    made = await provider.launch(launch_request(await cheapest(provider), deadline=soon))
    await provider.move_deadline(made.id, soon + 3600)
    sim.control("advance", seconds=1800)
    assert [m["id"] for m in sim.billing()] == [made.id]
    sim.control("advance", seconds=3000)
    assert sim.billing() == []
    assert sim.calls("terminate") == []
    await provider.close()


async def test_without_a_deadline_there_is_none(start_cloud: Start) -> None:
    sim = start_cloud("shadeform")
    provider = shadeform()
    made = await provider.launch(launch_request(await cheapest(provider)))
    assert "auto_delete" not in json.loads(sim.calls("launch")[0]["body"])
    await provider.terminate(made.id)
    await provider.close()


async def test_the_instance_can_be_ended_from_inside(start_cloud: Start) -> None:
    sim = start_cloud("shadeform")
    provider = shadeform()
    assert isinstance(provider, EndsItself)
    made = await provider.launch(launch_request(await cheapest(provider)))
    end = provider.end_command(made)
    assert sim.cloud.key not in end.command + repr(end)
    values = {name: value.get_secret_value() for name, value in end.secrets.items()}
    done = subprocess.run(
        ["sh", "-c", end.command], env={"PATH": "/usr/bin:/bin", **values}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sim.machines()[0]["ending"]
    await provider.close()


async def test_volumes_bill_on(start_cloud: Start) -> None:
    start_cloud("shadeform")
    provider = shadeform()
    assert isinstance(provider, HasLeftovers)
    (volume,) = await provider.leftovers()
    assert (volume.kind, volume.name, volume.region, volume.ours) == (
        "volume",
        "datasets",
        "hyperstack/canada-1",
        False,
    )
    assert volume.price == pytest.approx(0.01)
    await provider.close()


async def test_an_end_goes_through_though_the_name_cannot_be_read(start_cloud: Start) -> None:
    """What ends the bill does not wait for what only tidies up."""
    sim = start_cloud("shadeform")
    provider = shadeform()
    made = await provider.launch(launch_request(await cheapest(provider)))
    sim.arm("500", "get", times=8)

    async def at_once(_seconds: float) -> None: ...

    provider._api._sleep = at_once
    await provider.terminate(made.id)
    assert sim.machines()[0]["ending"]
    await provider.close()


async def test_a_refused_launch_leaves_no_key(start_cloud: Start) -> None:
    sim = start_cloud("shadeform")
    sim.control("set", no_capacity=True)
    provider = shadeform()
    with pytest.raises(NoCapacity):
        await provider.launch(launch_request(await cheapest(provider)))
    assert sim.control("keys") == []
    assert sim.machines() == []
    await provider.close()


REFUSALS: list[tuple[int, Any, type[ProviderError] | None]] = [
    (400, {"error": "anything"}, None),
    (401, {"error": "anything"}, AuthRefused),
    (402, {"error": "anything"}, AuthRefused),
    (404, {"error": "anything"}, BadRequest),
    (409, {"error_code": "OUT_OF_STOCK"}, NoCapacity),
    (400, {"error": "insufficient capacity in this region"}, NoCapacity),
    (403, {"error": "quota exceeded"}, QuotaExceeded),
    (400, {"error": "your balance is too low"}, AuthRefused),
    (429, {"error": "quota exceeded"}, None),
    (500, {"error": "out of stock"}, None),
    (404, "<html>not found</html>", None),
]


@pytest.mark.parametrize(("status", "body", "ours"), REFUSALS)
def test_refusals_in_our_words(status: int, body: Any, ours: type[ProviderError] | None) -> None:
    """None: what every provider's answers of that status mean."""
    said = translate(Refusal(status, body, None))
    if ours is None:
        assert said is None
    else:
        assert isinstance(said, ours)
        assert said.hint


async def test_the_common_meanings_come_through(start_cloud: Start) -> None:
    sim = start_cloud("shadeform")
    provider = shadeform()
    offer = await cheapest(provider)
    for kind, ours in (("429", RateLimited), ("502", ProviderFault), ("lost", ProviderFault)):
        sim.arm(kind, "key_add")
        with pytest.raises(ours):
            await provider.launch(launch_request(offer))
    assert sim.machines() == []
    await provider.close()
