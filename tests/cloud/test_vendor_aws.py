"""EC2's independent parties: AWS's own SDK drives our simulator, and our client drives moto, somebody else's EC2."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gpusess.errors import BadRequest
from gpusess.providers.aws import AwsProvider
from gpusess.providers.aws_prices import Prices
from gpusess.providers.base import InstanceStatus, Offer

from .client import Simulator
from .clients import client
from .requests import launch_request

pytestmark = [pytest.mark.slow, pytest.mark.sample]


def test_the_vendors_own_sdk(tmp_path: Path) -> None:
    """botocore signs by itself: that our simulator takes it shows that both signatures are the same."""
    with Simulator("aws", tmp_path / "sim") as sim:
        sim.control("set", boot=0.5, end=0.5)
        done = subprocess.run(
            [client("python"), "-P", Path(__file__).with_name("boto_life.py")],
            env={**sim.env, "EC2_URL": sim.url, "HOME": str(tmp_path), "PATH": os.defpath},
            capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "types": ["p5.48xlarge"],
            "spot": ["us-east-1a", "us-east-1b"],
            "once": True,
            "name": "by-the-sdk",
            "stopped": "stopped",
            "unknown": "InvalidInstanceID.NotFound",
            "prices": 1,
        }
        assert sim.billing() == []
        assert sim.violations() == []


@pytest.fixture
def moto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """moto's EC2, empty, and gpusess pointed at it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [client("moto_server"), "-p", str(port)],
        env={"HOME": str(tmp_path), "PATH": os.defpath},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url)
        for name, value in {
            "GPUSESS_AWS_URL": url, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1", "GPUSESS_HOME": str(tmp_path / "data"), "GPUSESS_CACHE": str(tmp_path / "cache"),
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield url
    finally:
        server.kill()
        server.wait()


def _wait_for(url: str) -> None:
    for _ in range(150):
        try:
            httpx.get(url + "/moto-api/", timeout=5)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("moto did not start")


async def test_somebody_elses_ec2(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types, launch, list, stop, start, terminate, and a security group, against an EC2 that we did not write.
    It has no price list."""

    async def prices(self: Prices, region: str, types: list[str]) -> tuple[dict[str, float], float]:
        return dict.fromkeys(types, 1.0), 0.0

    monkeypatch.setattr(Prices, "of", prices)
    image = "ami-12c6146b"  # one of those that moto knows
    provider = AwsProvider({"ami": image, "disk": 30})
    offers = {o.name: o for o in await provider.offers() if not o.spot}
    a100 = offers["p4d.24xlarge"]
    assert (a100.gpu, a100.gpus, a100.gpu_memory_gib, a100.vcpus, a100.memory_gib) == (
        "A100",
        8,
        40.0,
        96,
        1152.0,
    )
    assert "g4ad.4xlarge" not in offers
    assert "g5g.xlarge" not in offers
    offer = Offer("aws", "g5.xlarge", "us-east-1", 1.006, "A10G", 1, 4, 16.0, True)
    request = launch_request(offer)
    made = await provider.launch(request)
    got = await provider.get(made.id)
    assert got
    assert (got.name, got.tags, got.status, got.price) == (
        request.name,
        request.tags,
        InstanceStatus.RUNNING,
        1.006,
    )
    assert got.endpoint
    assert got.id in {i.id for i in await provider.list()}
    await provider.stop(made.id)
    stopped = await provider.get(made.id)
    assert stopped
    assert stopped.status is InstanceStatus.STOPPED
    await provider.start(made.id)
    await provider.terminate(made.id)
    ended = await provider.get(made.id)
    assert ended
    assert ended.status is InstanceStatus.TERMINATED
    assert await provider.get("us-east-1:i-0123456789abcdef0") is None
    with pytest.raises(BadRequest):
        await AwsProvider({"ami": "ami-0000000000000dead"}).launch(
            launch_request(offer, "gpusess-5e5510n1-2")
        )
    await asyncio.gather(*(provider.launch(launch_request(offer, f"gpusess-5e5510n1-{n}")) for n in (3, 4)))
    answer = await provider._ec2("us-east-1").ask("DescribeSecurityGroups")
    assert isinstance(answer, dict)
    groups = [g for g in answer["securityGroupInfo"] if g["groupName"] == "gpusess-ssh"]
    assert len(groups) == 1
    assert {"key": "gpusess", "value": "security-group"} in groups[0]["tagSet"]
    assert [(r["fromPort"], r["toPort"]) for r in groups[0]["ipPermissions"]] == [("22", "22")]
    await provider.close()
