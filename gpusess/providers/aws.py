"""AWS EC2: machines on demand and spot, through the Query API signed by hand (`aws_query`).

What there is to rent is `aws_offers`'s; what a launch needs beside the machine itself (image, security group)
is `aws_ground`'s. An instance's id here is `REGION:i-…`, since EC2's own ids do not say where they are.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gpusess.errors import AuthRefused, BadRequest, ProviderFault
from gpusess.providers.aws_account import account_of, credentials, default_region
from gpusess.providers.aws_answers import (
    Launched,
    Machine,
    Regions,
    Reservations,
    Volumes,
)
from gpusess.providers.aws_errors import NotThere
from gpusess.providers.aws_ground import Ground
from gpusess.providers.aws_offers import offers_in
from gpusess.providers.aws_prices import REGION as PRICES_REGION
from gpusess.providers.aws_prices import Prices
from gpusess.providers.aws_query import Json, Query
from gpusess.providers.base import (
    Abilities,
    Endpoint,
    Instance,
    InstanceStatus,
    LaunchRequest,
    LeaseEnd,
    Leftover,
    Offer,
)
from gpusess.providers.container import END
from gpusess.providers.http import checked, one_line
from gpusess.providers.options import checked_options
from gpusess.providers.user_data import cloud_config

SSH_PORT = 22
PRICE_TAG = "gpusess-price"
NAME_TAG = "Name"
LONGEST_TOKEN = 64

_STATUS = {
    "pending": InstanceStatus.BOOTING,
    "running": InstanceStatus.RUNNING,
    "shutting-down": InstanceStatus.TERMINATING,
    "terminated": InstanceStatus.TERMINATED,
    "stopping": InstanceStatus.STOPPED,
    "stopped": InstanceStatus.STOPPED,
}


class Options(BaseModel):
    """`resources.options` of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    regions: list[str] = []
    """Where to look for offers; empty: the one that AWS's own tools would take."""
    ami: str | None = Field(default=None, pattern=r"^ami-[0-9a-f]+$")
    """An image of the region, with cloud-init. None: Ubuntu, with NVIDIA's driver where there is a GPU."""
    user: str = "ubuntu"
    """Whom the image lets in."""
    disk: int = Field(default=100, ge=8)
    """GiB of the root volume; deleted with the instance."""
    subnet: str | None = Field(default=None, pattern=r"^subnet-[0-9a-f]+$")
    """None: the default network of the region."""
    security_group: str | None = Field(default=None, pattern=r"^sg-[0-9a-f]+$")
    """None: one that gpusess makes once, with port 22 open to `ssh_from`."""
    ssh_from: str = "0.0.0.0/0"
    private_address: bool = False
    """Reach instances at their private address, such as through a VPN."""


class AwsProvider:
    """EC2 machines of one account. Keys: see `aws_account.credentials`. Options: see `Options`."""

    name = "aws"
    abilities = Abilities(
        lease_end=LeaseEnd.SHUTDOWN,
        user_data=True,
        spot=True,
        stops=True,
        settle_seconds=60.0,
        poll_seconds=3.0,
        metadata_notice=True,
    )

    def __init__(self, options: dict[str, Any] | None = None, clock: Callable[[], float] = time.time) -> None:
        self._options = checked_options(self.name, Options, options)
        self._held = credentials()
        self._clock = clock
        self.account = account_of(self._held)
        self._regions = self._options.regions or [default_region()]
        self._clients: dict[str, Query] = {}
        self._pricing = Json("pricing", PRICES_REGION, self._held, "AWSPriceListService")
        self._prices = Prices(self._pricing, self.account, clock)
        self._grounds: dict[str, Ground] = {}

    async def offers(self) -> list[Offer]:
        """On demand where the price is known, and spot at the cheapest zone's price. EC2 shows no stock: all
        types that a region has count as available."""
        found = await asyncio.gather(
            *(offers_in(self._ec2(region), region, self._prices, self._clock) for region in self._regions)
        )
        return [offer for part in found for offer in part]

    async def launch(self, request: LaunchRequest) -> Instance:
        region = request.offer.region
        ground = self._ground(region)
        image = await ground.image(gpu=request.offer.gpus > 0)
        group = await ground.group()
        params = self._run_params(request, image.id, group)
        params["BlockDeviceMapping"] = [
            {
                "DeviceName": image.root,
                "Ebs": {
                    "VolumeSize": int(max(self._options.disk, image.least_gib)),
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                },
            }
        ]
        answer = await self._ec2(region).act("RunInstances", **params)
        made = checked(self.name, Launched, answer).instances
        if len(made) != 1:
            raise ProviderFault(
                f"aws launched {len(made)} instances where one was asked for", "it is looked for"
            )
        return self._instance(region, made[0])

    async def get(self, instance_id: str) -> Instance | None:
        region, id = _split(instance_id)
        try:
            answer = await self._ec2(region).ask("DescribeInstances", InstanceId=[id])
        except NotThere:
            return None
        machines = checked(self.name, Reservations, answer).machines
        return next((self._instance(region, m) for m in machines if m.id == id), None)

    async def terminate(self, instance_id: str) -> None:
        region, id = _split(instance_id)
        try:
            await self._ec2(region).act("TerminateInstances", InstanceId=[id])
        except NotThere:
            return

    async def stop(self, instance_id: str) -> None:
        """The root volume stays, and bills. Not for spot instances."""
        region, id = _split(instance_id)
        await self._ec2(region).act("StopInstances", InstanceId=[id])

    async def start(self, instance_id: str) -> None:
        region, id = _split(instance_id)
        await self._ec2(region).act("StartInstances", InstanceId=[id])

    async def leftovers(self) -> list[Leftover]:
        """Volumes that no instance uses. EC2 does not say what they cost."""
        found = await self._in_every_region(self._volumes)
        return [volume for part in found for volume in part]

    async def close(self) -> None:
        for api in (*self._clients.values(), *(g.api for g in self._grounds.values()), self._pricing):
            await api.close()

    # --- parts ---

    def _ec2(self, region: str) -> Query:
        return self._clients.setdefault(region, Query("ec2", region, self._held, self._clock))

    def _ground(self, region: str) -> Ground:
        if region not in self._grounds:
            chosen = self._options
            self._grounds[region] = Ground(
                self._ec2(region), Json("ssm", region, self._held, "AmazonSSM"), chosen.ami,
                chosen.security_group, chosen.subnet, chosen.ssh_from,
            )  # fmt: skip
        return self._grounds[region]

    def _run_params(self, request: LaunchRequest, image: str, group: str) -> dict[str, Any]:
        offer = request.offer
        tags = {NAME_TAG: request.name, **request.tags, PRICE_TAG: f"{offer.price:.4f}"}
        tag_list = [{"Key": k, "Value": v} for k, v in tags.items()]
        tagged = ["instance", "volume", *(["spot-instances-request"] if offer.spot else [])]
        user_data = cloud_config(request, commands=_ends(request.deadline))
        params: dict[str, Any] = {
            "ImageId": image,
            "InstanceType": offer.name,
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": _token(request.name),
            "UserData": base64.b64encode(user_data.encode()).decode(),
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required"},
            "SecurityGroupId": [group],
            "SubnetId": self._options.subnet,
            "TagSpecification": [{"ResourceType": kind, "Tag": tag_list} for kind in tagged],
        }
        if offer.spot:
            params["InstanceMarketOptions"] = {
                "MarketType": "spot",
                "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
            }
            if not self._options.subnet:
                params["Placement"] = {"AvailabilityZone": offer.detail["zone"]}
        return params

    async def _volumes(self, region: str) -> list[Leftover]:
        unused = [{"Name": "status", "Value": ["available"]}]
        found = []
        for page in await self._ec2(region).pages("DescribeVolumes", Filter=unused):
            for volume in checked(self.name, Volumes, page).volumes:
                tags = volume.tag_table
                name = tags.get(NAME_TAG, "")
                found.append(
                    Leftover("volume", volume.id, name, region, volume.size, None, "gpusess" in tags)
                )
        return found

    async def _machines(self, region: str) -> list[Instance]:
        pages = await self._ec2(region).pages("DescribeInstances", MaxResults=1000)
        return [
            self._instance(region, machine)
            for page in pages
            for machine in checked(self.name, Reservations, page).machines
        ]

    async def _in_every_region(self, look: Callable[[str], Awaitable[Any]]) -> list[Any]:
        """What a look gives in each region of the account. Regions where the key may not look are left out,
        unless they are ours to rent in: it may not launch there either."""

        async def one(region: str) -> Any:
            try:
                return await look(region)
            except AuthRefused:
                if region in self._regions:
                    raise
                return []

        return await asyncio.gather(*(one(region) for region in await self._all_regions()))

    async def _all_regions(self) -> list[str]:
        try:
            answer = await self._ec2(self._regions[0]).ask("DescribeRegions")
        except AuthRefused:
            return self._regions
        enabled = [r.name for r in checked(self.name, Regions, answer).regions]
        return sorted({*enabled, *self._regions})

    def _instance(self, region: str, machine: Machine) -> Instance:
        tags = machine.tag_table
        status = _STATUS.get(machine.state.name, InstanceStatus.FAILED)
        why = one_line(machine.reason.message or machine.reason.code or "") if machine.reason else ""
        taken = machine.reason is not None and machine.reason.code == "Server.SpotInstanceTermination"
        if taken and status is InstanceStatus.TERMINATING:
            status = InstanceStatus.PREEMPTED
        address = machine.private if self._options.private_address else machine.address
        reachable = status is InstanceStatus.RUNNING and address
        return Instance(
            id=f"{region}:{machine.id}",
            name=tags.pop(NAME_TAG, ""),
            status=status,
            endpoint=Endpoint(str(address), SSH_PORT, self._options.user) if reachable else None,
            price=_number(tags.pop(PRICE_TAG, "")) or self._list_price(region, machine),
            tags=tags,
            reason=why if status is not InstanceStatus.RUNNING else "",
            type=machine.type,
            region=region,
            created=machine.launched.timestamp() if machine.launched else None,
        )

    def _list_price(self, region: str, machine: Machine) -> float:
        """For instances that bear no price of ours; 0 where it is not known."""
        return 0.0 if machine.lifecycle == "spot" else self._prices.known(region, machine.type)

    # Last, since its name hides the builtin from annotations below it.
    async def list(self) -> list[Instance]:
        """In all regions of the account: an instance bills wherever it is."""
        found = await self._in_every_region(self._machines)
        return [instance for part in found for instance in part]


def _ends(deadline: float | None) -> list[str]:
    """A shutdown is the instance's end: the watch over the lease has a command for it, and cron sees to it at
    the deadline, after a restart too."""
    script = "printf '#!/bin/sh\\nexec /sbin/shutdown -h now\\n'"
    commands = [f"{script} > {END} && chmod 700 {END}"]
    if deadline is not None:
        line = f"* * * * * root [ $(date +\\%s) -lt {deadline:.0f} ] || {END}"
        commands.append(f"echo '{line}' > /etc/cron.d/gpusess-deadline")
    return commands


def _token(name: str) -> str:
    """EC2 makes no second instance for the same token: a launch that is sent twice stays one."""
    return name if len(name) <= LONGEST_TOKEN else hashlib.sha256(name.encode()).hexdigest()


def _split(instance_id: str) -> tuple[str, str]:
    found = re.fullmatch(r"([a-z0-9-]+):(i-[0-9a-f]+)", instance_id)
    if not found:
        raise BadRequest(
            f"'{instance_id}' is no EC2 instance of gpusess' form",
            "it is REGION:i-…, as `gpusess instances` shows",
        )
    return found[1], found[2]


def _number(text: str) -> float:
    """Our own price tag; anybody may have changed it."""
    return float(text) if re.fullmatch(r"\d{1,5}(\.\d{1,6})?", text) else 0.0
