"""What an EC2 launch stands on: an image, and a security group that lets SSH in. Nothing here costs money."""

from __future__ import annotations

from gpusess.errors import BadRequest
from gpusess.providers.aws_answers import Groups, Image, Images, NewGroup, Parameter
from gpusess.providers.aws_errors import Duplicate
from gpusess.providers.aws_query import Json, Query
from gpusess.providers.http import checked

GROUP = "gpusess-ssh"
GPU_IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
"""AWS's own image with NVIDIA's driver and Docker, and no frameworks. Its number differs in each region."""
CPU_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
"""Ubuntu, by Canonical."""


class Ground:
    """Of one region. What has been found once is not asked for again.

    ami, group: the user's own; empty: found or made.
    ssh_from: the addresses (CIDR) that may reach port 22 of a group that is made here.
    """

    def __init__(
        self, ec2: Query, api: Json, ami: str | None, group: str | None, subnet: str | None, ssh_from: str
    ) -> None:
        self._ec2 = ec2
        self.api = api
        self._ami = ami
        self._group = group
        self._subnet = subnet
        self._ssh_from = ssh_from
        self._images: dict[bool, Image] = {}

    async def image(self, gpu: bool) -> Image:
        """The image to start from, and how its root volume is called."""
        if gpu not in self._images:
            self._images[gpu] = await self._image(gpu)
        return self._images[gpu]

    async def group(self) -> str:
        """The security group's id; made at the first launch, and tagged."""
        if self._group is None:
            network = await self._network()
            self._group = await self._find_group(network) or await self._make_group(network)
        return self._group

    async def _image(self, gpu: bool) -> Image:
        ami = self._ami
        if ami is None:
            answer = await self.api.ask("GetParameter", Name=GPU_IMAGE if gpu else CPU_IMAGE)
            ami = checked("aws", Parameter, answer).parameter.value
        images = checked("aws", Images, await self._ec2.ask("DescribeImages", ImageId=[ami])).images
        if not images:
            raise BadRequest(f"AWS has no image {ami} in this region", "set `ami` in resources.options")
        return images[0]

    async def _network(self) -> str | None:
        """The network of the user's subnet; None: the region's default one."""
        if self._subnet is None:
            return None
        answer = await self._ec2.ask("DescribeSubnets", SubnetId=[self._subnet])
        subnets = answer.get("subnetSet") if isinstance(answer, dict) else None
        first = subnets[0] if isinstance(subnets, list) and subnets else {}
        network = first.get("vpcId") if isinstance(first, dict) else None
        if not isinstance(network, str):
            raise BadRequest(f"AWS has no subnet {self._subnet} in this region", "check `subnet`")
        return network

    async def _find_group(self, network: str | None) -> str | None:
        wanted = [{"Name": "group-name", "Value": [GROUP]}]
        wanted += [{"Name": "vpc-id", "Value": [network]}] if network else []
        found = checked("aws", Groups, await self._ec2.ask("DescribeSecurityGroups", Filter=wanted)).groups
        if not found:
            return None
        await self._open(found[0].id)
        return found[0].id

    async def _make_group(self, network: str | None) -> str:
        tags = [{"Key": "gpusess", "Value": "security-group"}, {"Key": "Name", "Value": GROUP}]
        try:
            answer = await self._ec2.act(
                "CreateSecurityGroup",
                GroupName=GROUP,
                GroupDescription="SSH to the instances that gpusess rents. Free, and made again when needed.",
                VpcId=network,
                TagSpecification=[{"ResourceType": "security-group", "Tag": tags}],
            )
        except Duplicate:
            found = await self._find_group(network)
            if found is None:
                raise
            return found
        made = checked("aws", NewGroup, answer).id
        await self._open(made)
        return made

    async def _open(self, group: str) -> None:
        """Port 22, again where it is open already: a group that was made and not opened helps nobody."""
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": self._ssh_from}]}
        try:
            await self._ec2.act("AuthorizeSecurityGroupIngress", GroupId=group, IpPermissions=[rule])
        except Duplicate:
            return
