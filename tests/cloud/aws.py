"""A simulated EC2 with what a launch stands on (images by SSM, security groups) and AWS's price list.

Calls are signed, a client token makes a launch happen once, and each region is a place of its own.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import SecretStr

from gpusess.providers.aws_signing import signature_of

from . import boot
from .aws_xml import answer, error, nested
from .http import Answer, Reply, Request
from .simulator import Cloud, Machine

XML = {"Content-Type": "text/xml;charset=UTF-8"}
SECRET = "simulatedSecret/K7MDENG+bPxRfiCYEXAMPLE"
REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
STATES = {
    "booting": (0, "pending"),
    "running": (16, "running"),
    "ending": (32, "shutting-down"),
    "preempted": (32, "shutting-down"),
    "ended": (48, "terminated"),
    "stopped": (80, "stopped"),
    "failed": (48, "terminated"),
}
TYPES = {
    # vCPUs, MiB, GPU, maker, count, MiB of one, $ on demand, $ spot, architecture
    "g5.xlarge": (4, 16_384, "A10G", "NVIDIA", 1, 24_576, 1.006, 0.41, "x86_64"),
    "g6e.12xlarge": (48, 393_216, "L40S", "NVIDIA", 4, 46_068, 10.493, 4.2, "x86_64"),
    "p5.48xlarge": (192, 2_097_152, "H100", "NVIDIA", 8, 81_920, 55.04, 20.0, "x86_64"),
    "g4ad.xlarge": (4, 16_384, "Radeon Pro V520", "AMD", 1, 8_192, 0.379, 0.15, "x86_64"),
    "g5g.xlarge": (4, 8_192, "T4g", "NVIDIA", 1, 16_384, 0.42, 0.2, "arm64"),
    "t3.xlarge": (4, 16_384, "", "", 0, 0, 0.1664, 0.05, "x86_64"),
    "m7i.xlarge": (4, 16_384, "", "", 0, 0, 0.2016, 0.08, "x86_64"),
}
OPS = {"RunInstances": "launch", "TerminateInstances": "terminate", "DescribeInstanceTypes": "offers"}
IMAGES = {"ami-0a1b2c3d4e5f60001": 35, "ami-0a1b2c3d4e5f60002": 8}
PARAMETERS = {
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id": "ami-0a1b2c3d4e5f60001",
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": "ami-0a1b2c3d4e5f60002",
}


class Refused(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.reply = Reply(status, error(code, message), XML)


class AwsCloud(Cloud):
    name = "aws"
    key = "AKIASIMULATEDKEY2345"
    environment: ClassVar[dict[str, str]] = {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }
    port_22 = True
    user = "ubuntu"

    def populate(self) -> None:
        self.tokens: dict[str, tuple[str, str]] = {}
        self.page = 1000
        self.denied: dict[str, str] = {}
        self.groups = {
            (region, "sg-00000000000de0001"): {"name": "default", "ports": [], "tags": []}
            for region in REGIONS
        }
        self.volumes = [
            {"volumeId": "vol-0aaa1", "size": 500, "status": "available", "region": "us-east-1", "tagSet": []}
        ]
        for name, region, tags in (
            ("somebodys-server", "us-east-1", {}),
            ("gpusess-0ther1ap-1", "us-east-1", {"gpusess": "0ther1ap"}),
            ("web", "eu-west-1", {}),
        ):
            self.create(name=name, type="t3.xlarge", region=region, price=0.1664, tags=tags, foreign=True)

    def new_id(self) -> str:
        return "i-" + super().new_id()[:17]

    def bills(self, machine: Machine) -> bool:
        """A stopped machine's volume bills."""
        return self.phase(machine) != "ended"

    def refused_key(self, request: Request) -> Reply | None:
        """Signature Version 4, computed anew over the headers that the caller says to have signed."""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9]+)/aws4_request,\s*"
            r"SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})",
            request.headers.get("authorization", ""),
        )
        if not found:
            return self._no("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        key, _, self.region, self.service, names, signature = found.groups()
        if key != self.key:
            return self._no(
                "AuthFailure", "AWS was not able to validate the provided access credentials", 401
            )
        headers = {name: request.headers.get(name, "") for name in names.split(";")}
        url = f"https://{request.headers.get('host', '')}{request.path}"
        date = request.headers.get("x-amz-date", "")
        right, _ = signature_of(
            request.method, url, headers, request.body, SecretStr(SECRET), date, self.region, self.service
        )
        if right != signature:
            return self._no(
                "SignatureDoesNotMatch", "The request signature we calculated does not match", 403
            )
        return None

    def not_found(self, request: Request) -> Reply:
        return self._no("InvalidAction", f"The action {request.op} is not valid for this web service.")

    def too_many(self, request: Request) -> Reply:
        return self._no("RequestLimitExceeded", "Request limit exceeded.", 503)

    def server_error(self, request: Request) -> Reply:
        return self._no("InternalError", "An internal error has occurred", 500)

    def resources_of_others(self) -> Any:
        return [self.volumes, [[*k, v] for k, v in self.groups.items() if v["name"] != "gpusess-ssh"]]

    def more_control(self, do: str, args: dict[str, Any]) -> Any:
        match do:
            case "page":
                self.page = args["size"]
            case "deny":
                self.denied[args["action"]] = args["code"]
            case "groups":
                return [{"region": r, "id": i, **g} for (r, i), g in self.groups.items()]
            case "shutdown":
                """The machine's operating system is shut down."""
                machine = self.machines[args["id"]]
                if machine.facts["shutdown"] == "terminate":
                    self.end(machine)
                else:
                    machine.forced = "stopped"
            case _:
                return super().more_control(do, args)
        return None

    def _no(self, code: str, message: str, status: int = 400) -> Reply:
        if getattr(self, "service", "ec2") != "ec2":
            return Reply(status, {"__type": f"com.amazon#{code}", "message": message})
        return Reply(status, error(code, message), XML)

    # --- one call ---

    def _route(self, request: Request) -> Answer | None:
        target = request.headers.get("x-amz-target", "")
        action = target.rpartition(".")[2] or request.form.get("Action", "")
        given = any(name.startswith("InstanceId") for name in request.form)
        request.op = OPS.get(action, action)
        if action == "DescribeInstances":
            request.op = "get" if given else "list"
        handler: Callable[[AwsCloud, Any], Any] | None = getattr(type(self), f"_do_{action}", None)
        if handler is None:
            return None

        def run(_self: Any, one: Request) -> Reply:
            if action in self.denied:
                return self._no(self.denied[action], "You are not authorized to perform this operation.", 403)
            try:
                if target:
                    return Reply(200, handler(self, one.json or {}))
                fields = {k: v for k, v in one.form.items() if k not in ("Action", "Version")}
                return Reply(200, answer(action, handler(self, nested(fields))), XML)
            except Refused as exc:
                return exc.reply
            except ValueError as exc:
                return self._no("InvalidParameterValue", str(exc))

        return run

    def _pages(self, asked: dict[str, Any], name: str, rows: list[Any]) -> dict[str, Any]:
        size = min(self.page, int(asked.get("MaxResults", 1000)))
        start = int(asked.get("NextToken", "0"))
        following = str(start + size) if start + size < len(rows) else ""
        return {name: rows[start : start + size], "nextToken": following}

    # --- what there is ---

    def _do_DescribeRegions(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "regionInfo": [{"regionName": r, "regionEndpoint": f"ec2.{r}.amazonaws.com"} for r in REGIONS]
        }

    def _do_DescribeInstanceTypes(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = []
        for name in _matching(asked, TYPES):
            vcpus, memory, gpu, maker, count, gpu_memory, _, _, arch = TYPES[name]
            row: dict[str, Any] = {
                "instanceType": name, "currentGeneration": True, "supportedUsageClasses": ["on-demand", "spot"],
                "processorInfo": {"supportedArchitectures": [arch]}, "vCpuInfo": {"defaultVCpus": vcpus},
                "memoryInfo": {"sizeInMiB": memory},
            }  # fmt: skip
            if count:
                one = {
                    "name": gpu,
                    "manufacturer": maker,
                    "count": count,
                    "memoryInfo": {"sizeInMiB": gpu_memory},
                }
                row["gpuInfo"] = {"gpus": [one], "totalGpuMemoryInMiB": count * gpu_memory}
            rows.append(row)
        return self._pages(asked, "instanceTypeSet", rows)

    def _do_DescribeInstanceTypeOfferings(self, asked: dict[str, Any]) -> dict[str, Any]:
        kind = asked.get("LocationType", "region")
        places = {"region": [self.region], "availability-zone": [self.region + "a", self.region + "b"]}
        rows = [
            {"instanceType": name, "locationType": kind, "location": place}
            for name in _matching(asked, TYPES)
            for place in places[kind]
            if not (name.startswith("p5") and self.region != "us-east-1")
        ]
        return self._pages(asked, "instanceTypeOfferingSet", rows)

    def _do_DescribeSpotPriceHistory(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {"instanceType": name, "productDescription": "Linux/UNIX", "spotPrice": f"{TYPES[name][7] * factor:.6f}",
             "timestamp": _time(self.clock.now() - age), "availabilityZone": self.region + zone}
            for name in _matching(asked, TYPES)
            for zone, factor, age in (("a", 1.2, 600), ("b", 1.0, 900), ("b", 0.5, 90_000))
        ]  # fmt: skip
        return self._pages(asked, "spotPriceHistorySet", rows)

    def _do_GetProducts(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = {f["Field"]: f["Value"] for f in asked["Filters"]}
        found = []
        for name, (*_, price, _spot, _arch) in TYPES.items():
            family = "GPU instance" if name[0] in "gp" else "General purpose"
            if wanted.get("instanceType", name) != name or wanted.get("instanceFamily", family) != family:
                continue
            dimension = {"unit": "Hrs", "pricePerUnit": {"USD": f"{price:.10f}"}}
            terms = {"OnDemand": {"X.Y": {"priceDimensions": {"X.Y.Z": dimension}}}}
            found.append(json.dumps({"product": {"attributes": {"instanceType": name}}, "terms": terms}))
        return {"FormatVersion": "aws_v1", "PriceList": found}

    def _do_GetParameter(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked.get("Name", "")
        if name not in PARAMETERS:
            raise ValueError(f"ParameterNotFound: {name}")
        return {"Parameter": {"Name": name, "Type": "String", "Value": PARAMETERS[name], "Version": 1}}

    def _do_DescribeImages(self, asked: dict[str, Any]) -> dict[str, Any]:
        unknown = [i for i in asked.get("ImageId", []) if i not in IMAGES]
        if unknown:
            raise Refused("InvalidAMIID.NotFound", f"The image id '[{unknown[0]}]' does not exist")
        return {
            "imagesSet": [
                {"imageId": i, "rootDeviceName": "/dev/sda1",
                 "blockDeviceMapping": [{"deviceName": "/dev/sda1", "ebs": {"volumeSize": IMAGES[i]}}]}
                for i in asked.get("ImageId", IMAGES)
            ]
        }  # fmt: skip

    def _do_DescribeSubnets(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"subnetSet": [{"subnetId": i, "vpcId": "vpc-0123456789abcdef0"} for i in asked["SubnetId"]]}

    def _do_DescribeVolumes(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._pages(asked, "volumeSet", [v for v in self.volumes if v["region"] == self.region])

    # --- security groups ---

    def _do_DescribeSecurityGroups(self, asked: dict[str, Any]) -> dict[str, Any]:
        names = _filter(asked, "group-name")
        rows = [
            {"groupId": id, "groupName": group["name"]}
            for (region, id), group in self.groups.items()
            if region == self.region and (names is None or group["name"] in names)
        ]
        return {"securityGroupInfo": rows}

    def _do_CreateSecurityGroup(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["GroupName"]
        if any(r == self.region and g["name"] == name for (r, _), g in self.groups.items()):
            raise Refused("InvalidGroup.Duplicate", f"The security group '{name}' already exists")
        if not re.fullmatch(r"[\w .:/()#,@\[\]+=&;{}!$*-]{1,255}", asked["GroupDescription"]):
            raise Refused("InvalidParameterValue", "Value for parameter GroupDescription is invalid.")
        id = "sg-" + Cloud.new_id(self)[:17]
        self.groups[self.region, id] = {
            "name": name,
            "ports": [],
            "tags": asked["TagSpecification"][0]["Tag"],
        }
        return {"return": True, "groupId": id}

    def _do_AuthorizeSecurityGroupIngress(self, asked: dict[str, Any]) -> dict[str, Any]:
        group = self.groups.get((self.region, asked["GroupId"]))
        if group is None:
            raise Refused("InvalidGroup.NotFound", "The security group does not exist")
        rule = asked["IpPermissions"][0]
        if rule in group["ports"]:
            raise Refused("InvalidPermission.Duplicate", "the specified rule already exists")
        group["ports"].append(rule)
        return {"return": True}

    # --- machines ---

    def _do_RunInstances(self, asked: dict[str, Any]) -> dict[str, Any]:
        for name in ("ImageId", "InstanceType", "MinCount", "MaxCount"):
            if name not in asked:
                raise Refused("MissingParameter", f"The request must contain the parameter {name}")
        token = asked.get("ClientToken", "")
        if token in self.tokens:
            before, id = self.tokens[token]
            if before != json.dumps(asked, sort_keys=True):
                raise Refused("IdempotentParameterMismatch", "Arguments on this idempotent request differ")
            return {"reservationId": "r-1", "instancesSet": [self._instance(self.machines[id])]}
        self._check_launch(asked)
        tags = {t["Key"]: t["Value"] for t in _tags(asked, "instance")}
        spot = asked.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        facts = TYPES[asked["InstanceType"]]
        text = base64.b64decode(asked.get("UserData", "")).decode()
        machine = self.create(
            name=tags.pop("Name", ""), type=asked["InstanceType"], region=self.region, price=facts[7 if spot else 6],
            tags=tags, boot=boot.cloud_init(text) if text else boot.Boot(), spot=spot,
            shutdown=asked.get("InstanceInitiatedShutdownBehavior", "stop"), user_data=text,
        )  # fmt: skip
        if token:
            self.tokens[token] = (json.dumps(asked, sort_keys=True), machine.id)
        return {"reservationId": "r-1", "instancesSet": [self._instance(machine)]}

    def _check_launch(self, asked: dict[str, Any]) -> None:
        if asked["InstanceType"] not in TYPES:
            raise Refused(
                "InvalidParameterValue", f"Invalid value '{asked['InstanceType']}' for InstanceType"
            )
        if asked["ImageId"] not in IMAGES:
            raise Refused("InvalidAMIID.NotFound", f"The image id '[{asked['ImageId']}]' does not exist")
        groups = asked.get("SecurityGroupId", [])
        if not all((self.region, g) in self.groups for g in groups):
            raise Refused("InvalidGroup.NotFound", "The security group does not exist")
        for mapping in asked.get("BlockDeviceMapping", []):
            if int(mapping["Ebs"]["VolumeSize"]) < IMAGES[asked["ImageId"]]:
                raise Refused("InvalidBlockDeviceMapping", "Volume is smaller than the snapshot")
        spot = asked.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        if spot and asked.get("InstanceInitiatedShutdownBehavior", "terminate") == "stop":
            raise Refused("InvalidParameterCombination", "stop is not supported for one-time spot requests")
        if self.knobs.no_capacity:
            message = f"We currently do not have sufficient {asked['InstanceType']} capacity in the zone"
            raise Refused("InsufficientInstanceCapacity", message, 500)

    def _do_DescribeInstances(self, asked: dict[str, Any]) -> dict[str, Any]:
        ids = asked.get("InstanceId")
        if ids is not None:
            return {"reservationSet": [_reservation([self._instance(self._known(id))]) for id in ids]}
        here = [m for m in self.listed() if m.region == self.region]
        return self._pages(asked, "reservationSet", [_reservation([self._instance(m)]) for m in here])

    def _do_TerminateInstances(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [self._known(id, look=False) for id in asked["InstanceId"]]
        for machine in found:
            self.end(machine)
        return {"instancesSet": [self._change(m) for m in found]}

    def _do_StopInstances(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [self._known(id) for id in asked["InstanceId"]]
        if any(m.facts.get("spot") for m in found):
            raise Refused("UnsupportedOperation", "You can't stop the Spot Instance because it is one-time")
        for machine in found:
            machine.forced = "stopped"
        return {"instancesSet": [self._change(m) for m in found]}

    def _do_StartInstances(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [self._known(id) for id in asked["InstanceId"]]
        for machine in found:
            if self.phase(machine) != "stopped":
                raise Refused("IncorrectInstanceState", f"The instance '{machine.id}' is not stopped")
            machine.forced = ""
        return {"instancesSet": [self._change(m) for m in found]}

    def _known(self, id: str, look: bool = True) -> Machine:
        """A machine of this region. `look`: one that appears late is not there yet."""
        if not re.fullmatch(r"i-[0-9a-f]{17}", id):
            raise Refused("InvalidInstanceID.Malformed", f'Invalid id: "{id}"')
        machine = self.find(id) if look else self.machines.get(id)
        if machine is None or machine.region != self.region:
            raise Refused("InvalidInstanceID.NotFound", f"The instance ID '{id}' does not exist")
        return machine

    def _change(self, machine: Machine) -> dict[str, Any]:
        code, name = STATES[self.phase(machine)]
        return {"instanceId": machine.id, "currentState": {"code": code, "name": name}}

    def _instance(self, machine: Machine) -> dict[str, Any]:
        phase = self.phase(machine)
        code, state = STATES[phase]
        tags = {"Name": machine.name, **machine.tags}
        reasons = {
            "preempted": ("Server.SpotInstanceTermination", "Server.SpotInstanceTermination: taken away"),
            "failed": ("Server.InternalError", "Server.InternalError: Internal error on launch"),
            "ending": (
                "Client.UserInitiatedShutdown",
                "Client.UserInitiatedShutdown: User initiated shutdown",
            ),
        }
        reason = reasons.get(phase)
        return {
            "instanceId": machine.id, "imageId": "ami-0a1b2c3d4e5f60001", "instanceState": {"code": code, "name": state},
            "instanceType": machine.type, "launchTime": _time(machine.created), "privateIpAddress": "10.0.0.7",
            "placement": {"availabilityZone": machine.region + "a"}, "ipAddress": machine.host if phase == "running" else None,
            "instanceLifecycle": "spot" if machine.facts.get("spot") else None, "architecture": "x86_64",
            "tagSet": [{"key": k, "value": v} for k, v in tags.items()],
            "stateReason": {"code": reason[0], "message": reason[1]} if reason else None,
        }  # fmt: skip


def _reservation(instances: list[dict[str, Any]]) -> dict[str, Any]:
    return {"reservationId": "r-1", "ownerId": "123456789012", "groupSet": [], "instancesSet": instances}


def _filter(asked: dict[str, Any], name: str) -> list[str] | None:
    """The values of a filter; None: it is not asked for."""
    found = [f["Value"] for f in asked.get("Filter", []) if f["Name"] == name]
    return found[0] if found else None


def _matching(asked: dict[str, Any], names: Any) -> list[str]:
    wanted = asked.get("InstanceType") or _filter(asked, "instance-type")
    return [n for n in names if wanted is None or any(fnmatchcase(n, pattern) for pattern in wanted)]


def _tags(asked: dict[str, Any], kind: str) -> list[dict[str, str]]:
    found = [s["Tag"] for s in asked.get("TagSpecification", []) if s["ResourceType"] == kind]
    return found[0] if found else []


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
