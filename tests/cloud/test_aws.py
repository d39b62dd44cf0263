"""EC2 against its simulator: signed calls, offers with their prices' age, a launch that happens once, and its end."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from gpusess.errors import AuthRefused, BadRequest, NoCapacity, ProviderFault, RateLimited, SpecError
from gpusess.providers import http
from gpusess.providers.aws import AwsProvider
from gpusess.providers.base import HasLeftovers, InstanceStatus, LeaseEnd, Offer, Stops

from .client import Simulator
from .conftest import Start
from .requests import launch_request
from .ssh_hosts import may_use_port_22


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def sim(start_cloud: Start) -> Simulator:
    made = start_cloud("aws")
    made.control("set", boot=0, end=0)
    return made


async def _offer(provider: AwsProvider, name: str = "g5.xlarge", spot: bool = False) -> Offer:
    return next(o for o in await provider.offers() if (o.name, o.spot) == (name, spot))


async def test_offers_on_demand_and_spot(sim: Simulator) -> None:
    provider = AwsProvider({"regions": ["us-east-1", "eu-west-1"]})
    sim.control("page", size=2)
    offers = {(o.name, o.region, o.spot): o for o in await provider.offers()}
    h100 = offers["p5.48xlarge", "us-east-1", False]
    assert (h100.gpu, h100.gpus, h100.price, h100.gpu_memory_gib, h100.vcpus) == ("H100", 8, 55.04, 80.0, 192)
    assert h100.detail["stock"] == "not shown"
    assert abs(h100.detail["priced"] - time.time()) < 60
    assert not any(name == "p5.48xlarge" and region == "eu-west-1" for name, region, _ in offers)
    spot = offers["g5.xlarge", "eu-west-1", True]
    assert (spot.price, spot.detail["zone"]) == (0.41, "eu-west-1b"), "the newest price of the cheapest zone"
    assert {name for name, _, _ in offers} == {
        "g5.xlarge",
        "g6e.12xlarge",
        "p5.48xlarge",
        "t3.xlarge",
        "m7i.xlarge",
    }
    await provider.close()


async def test_the_price_list_is_read_once_a_day(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    provider = AwsProvider(clock=lambda: now)
    before = (await _offer(provider)).detail["priced"]
    asked = len(sim.calls("GetProducts"))
    assert asked
    again = AwsProvider(clock=lambda: now)
    assert (await _offer(again)).detail["priced"] == before
    assert len(sim.calls("GetProducts")) == asked
    now += 25 * 3600
    sim.control("deny", action="GetProducts", code="AccessDeniedException")
    assert (await _offer(again)).detail["priced"] == before, "an older list, and its age is shown"
    assert len(sim.calls("GetProducts")) > asked
    await provider.close()
    await again.close()


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"at": "x", "prices": {}}', '{"at": 1, "prices": {"a": "b"}}', "\x00"]
)
async def test_a_broken_cache_of_prices_is_made_anew(sim: Simulator, tmp_path: Path, content: str) -> None:
    provider = AwsProvider()
    before = await _offer(provider)
    (file,) = (tmp_path / "cache/aws-prices").rglob("us-east-1.json")
    file.write_text(content)
    assert (await _offer(provider)).price == before.price
    await provider.close()


async def test_others_machines_have_the_list_price_where_it_is_known(sim: Simulator) -> None:
    provider = AwsProvider()
    assert {i.price for i in await provider.list() if i.name == "somebodys-server"} == {0.0}
    await provider.offers()
    prices = {i.name: i.price for i in await provider.list()}
    assert (prices["somebodys-server"], prices["web"]) == (0.1664, 0.0)
    await provider.close()


async def test_without_the_right_to_read_prices_only_spot_is_offered(sim: Simulator) -> None:
    sim.control("deny", action="GetProducts", code="AccessDeniedException")
    provider = AwsProvider()
    offers = await provider.offers()
    assert offers
    assert all(o.spot for o in offers)
    await provider.close()


async def test_a_whole_life(sim: Simulator) -> None:
    provider = AwsProvider()
    request = launch_request(await _offer(provider), deadline=1_900_000_000.0)
    made = await provider.launch(request)
    assert made.id.startswith("us-east-1:i-")
    got = await provider.get(made.id)
    assert got
    assert got.status is InstanceStatus.RUNNING
    assert (got.name, got.tags, got.price, got.type) == (request.name, request.tags, 1.006, "g5.xlarge")
    assert got.endpoint
    assert (got.endpoint.port, got.endpoint.user) == (22, "ubuntu")
    (machine,) = sim.machines()
    assert "1900000000" in machine["facts"]["user_data"]
    await provider.terminate(made.id)
    await provider.terminate(made.id)
    ended = await provider.get(made.id)
    assert ended
    assert ended.status is InstanceStatus.TERMINATED
    assert await provider.get("us-east-1:i-00000000000000000") is None
    assert await provider.get("eu-west-1:" + made.id.split(":")[1]) is None
    assert sim.billing() == []
    await provider.close()


async def test_the_machine_answers_with_the_minted_key(start_cloud: Start) -> None:
    if not may_use_port_22():
        pytest.skip("EC2's instances are on port 22, which this user may not use here")
    sim = start_cloud("aws", ssh=True)
    sim.control("set", boot=0)
    provider = AwsProvider()
    request = launch_request(await _offer(provider))
    made = await provider.get((await provider.launch(request)).id)
    assert made
    assert made.endpoint
    seen = await asyncssh.get_server_host_key(made.endpoint.host, made.endpoint.port)
    assert seen
    assert seen.public_data == asyncssh.import_public_key(request.host_public_key).public_data
    await provider.close()


async def test_a_launch_that_is_sent_twice_is_one_machine(sim: Simulator) -> None:
    """The name is the client token: EC2 gives the same machine again."""
    provider = AwsProvider()
    request = launch_request(await _offer(provider))
    sim.arm("lost", "launch", when="after")
    with pytest.raises(ProviderFault):
        await provider.launch(request)
    assert len(sim.machines()) == 1
    again = await provider.launch(request)
    assert [m["id"] for m in sim.machines()] == [again.id.split(":")[1]]
    with pytest.raises(ProviderFault, match="IdempotentParameterMismatch"):
        await provider.launch(replace(request, tags={"gpusess": "other"}))
    assert len(sim.machines()) == 1
    await provider.close()


async def test_a_shutdown_is_the_end(sim: Simulator) -> None:
    provider = AwsProvider()
    assert provider.abilities.lease_end is LeaseEnd.SHUTDOWN
    for spot in (False, True):
        made = await provider.launch(
            launch_request(await _offer(provider, spot=spot), f"gpusess-5e5510n1-{spot:d}")
        )
        sim.control("shutdown", id=made.id.split(":")[1])
        gone = await provider.get(made.id)
        assert gone
        assert gone.status is InstanceStatus.TERMINATED
    await provider.close()


async def test_stop_and_start(sim: Simulator) -> None:
    provider = AwsProvider()
    assert isinstance(provider, Stops)
    made = await provider.launch(launch_request(await _offer(provider)))
    await provider.stop(made.id)
    stopped = await provider.get(made.id)
    assert stopped
    assert (stopped.status, stopped.endpoint) == (InstanceStatus.STOPPED, None)
    await provider.start(made.id)
    with pytest.raises(BadRequest, match="IncorrectInstanceState"):
        await provider.start(made.id)
    spot = await provider.launch(launch_request(await _offer(provider, spot=True), "gpusess-5e5510n1-2"))
    with pytest.raises(BadRequest, match="Spot"):
        await provider.stop(spot.id)
    await provider.close()


async def test_a_spot_machine_that_is_taken_away(sim: Simulator) -> None:
    provider = AwsProvider()
    made = await provider.launch(launch_request(await _offer(provider, spot=True)))
    sim.control("force", id=made.id.split(":")[1], phase="preempted")
    taken = await provider.get(made.id)
    assert taken
    assert (taken.status, taken.endpoint) == (InstanceStatus.PREEMPTED, None)
    assert "SpotInstanceTermination" in taken.reason
    await provider.close()


async def test_the_list_is_of_all_regions(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_TRIES", 2)
    provider = AwsProvider()
    sim.control("page", size=1)
    found = {(i.name, i.region) for i in await provider.list()}
    assert {("web", "eu-west-1"), ("somebodys-server", "us-east-1")} <= found
    sim.arm("500", "list", nth=2, times=99)
    with pytest.raises(ProviderFault):
        await provider.list()
    await provider.close()


async def test_one_security_group_is_made_and_used_again(sim: Simulator) -> None:
    provider = AwsProvider()
    offer = await _offer(provider)
    await provider.launch(launch_request(offer))
    other = AwsProvider()
    await other.launch(launch_request(offer, "gpusess-5e5510n2-1"))
    (group,) = [g for g in sim.control("groups") if g["name"] == "gpusess-ssh"]
    assert [(r["FromPort"], r["ToPort"], r["IpRanges"]) for r in group["ports"]] == [
        ("22", "22", [{"CidrIp": "0.0.0.0/0"}])
    ]
    assert {"Key": "gpusess", "Value": "security-group"} in group["tags"]
    assert len(sim.calls("CreateSecurityGroup")) == 1
    await provider.close()
    await other.close()


async def test_a_group_that_was_made_and_not_opened_is_opened(sim: Simulator) -> None:
    provider = AwsProvider()
    offer = await _offer(provider)
    sim.arm("500", "AuthorizeSecurityGroupIngress")
    with pytest.raises(ProviderFault):
        await provider.launch(launch_request(offer))
    assert sim.machines() == []
    await provider.launch(launch_request(offer, "gpusess-5e5510n1-2"))
    (group,) = [g for g in sim.control("groups") if g["name"] == "gpusess-ssh"]
    assert len(group["ports"]) == 1
    await provider.close()


async def test_capacity_and_limits(sim: Simulator) -> None:
    provider = AwsProvider()
    offer = await _offer(provider)
    sim.control("set", no_capacity=True)
    with pytest.raises(NoCapacity, match="InsufficientInstanceCapacity"):
        await provider.launch(launch_request(offer))
    sim.arm("429", "launch")
    with pytest.raises(RateLimited, match="RequestLimitExceeded"):
        await provider.launch(launch_request(offer))
    assert sim.machines() == []
    await provider.close()


async def test_the_wrong_secret_and_no_key(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wr0ng-secret")
    provider = AwsProvider()
    with pytest.raises(AuthRefused, match="SignatureDoesNotMatch") as caught:
        await provider.list()
    assert "wr0ng-secret" not in repr(caught.value) + repr(vars(provider))
    await provider.close()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(AuthRefused, match="AWS_SECRET_ACCESS_KEY"):
        AwsProvider()
    (tmp_path / "none").write_text(
        f"[default]\naws_access_key_id = {sim.cloud.key}\naws_secret_access_key = {sim.cloud.environment['AWS_SECRET_ACCESS_KEY']}\n"
    )
    from_file = AwsProvider()
    assert await from_file.list()
    await from_file.close()


async def test_unused_volumes_are_left_over(sim: Simulator) -> None:
    provider = AwsProvider()
    assert isinstance(provider, HasLeftovers)
    (volume,) = await provider.leftovers()
    assert (volume.id, volume.size_gib, volume.region, volume.ours) == ("vol-0aaa1", 500, "us-east-1", False)
    await provider.close()


async def test_what_has_another_form_is_refused_before_any_call(sim: Simulator) -> None:
    with pytest.raises(SpecError, match="no option region"):
        AwsProvider({"region": "us-east-1"})
    provider = AwsProvider()
    for strange in ("i-0123456789abcdef0", "us-east-1:i-../..", "evil.example:i-0123456789abcdef0"):
        with pytest.raises(BadRequest, match="no EC2 instance"):
            await provider.get(strange)
    assert sim.calls() == []
    await provider.close()
