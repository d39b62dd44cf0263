"""RunPod through its REST API v2: pods, which are containers with a mapped SSH port.

This API has no spot. Its document: https://docs.runpod.io/api-reference-v2.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gpusess.errors import AuthRefused, BadRequest, NoCapacity, ProviderError, ProviderFault, QuotaExceeded
from gpusess.providers import container
from gpusess.providers.base import (
    Abilities,
    EndCommand,
    Endpoint,
    Instance,
    InstanceStatus,
    LaunchRequest,
    LeaseEnd,
    Leftover,
    Offer,
)
from gpusess.providers.http import Api, Refusal, base_url, checked, fingerprint, one_line, secret
from gpusess.providers.options import checked_options
from gpusess.providers.pacing import Pace
from gpusess.providers.runpod_answers import Cpu, Cpus, Gpu, Gpus, Place, Pod, Pods, Volumes

URL = "https://api.runpod.io"
CONSOLE = "https://console.runpod.io"
IMAGE = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"
IMAGE_CUDA = "12.8"
COUNTS = (1, 2, 4, 8)
"""GPUs of one pod that stock is asked for."""
VCPUS = (4, 16)
"""The same for pods without a GPU."""
ANYWHERE = "any"
"""The region of an offer whose data centre RunPod chooses."""

_STATUS = {
    "PROVISIONING": InstanceStatus.BOOTING,
    "STARTING": InstanceStatus.BOOTING,
    "RUNNING": InstanceStatus.RUNNING,
    "EXITED": InstanceStatus.STOPPED,
    "ERROR": InstanceStatus.FAILED,
    "TERMINATED": InstanceStatus.TERMINATED,
}

_CAPACITY = re.compile(r"availab|capacity|no .*(instance|machine)|resources|place|stock", re.IGNORECASE)
"""RunPod gives a broken rule and the want of a free machine the same status and no code: only words."""


class Options(BaseModel):
    """`resources.options` of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cloud: str = Field(default="secure", pattern="^(secure|community|any)$")
    """Whose machines: RunPod's data centres, or anybody's."""
    image: str = IMAGE
    disk: int = Field(default=50, ge=5)
    """GB of the container's disk; gone when the pod stops."""
    min_cuda: str | None = Field(default=None, pattern=r"^\d+\.\d+$")
    """The host's least CUDA version; None: what the default image needs."""
    volume: str | None = None
    """A network volume's id; its data centre is where the pod goes."""
    volume_path: str = "/workspace"


class _NotThere(BadRequest):
    """404 in RunPod's own form."""


class RunpodProvider:
    """Pods of one account; the key comes from `RUNPOD_API_KEY`. Options: see `Options`."""

    name = "runpod"
    abilities = Abilities(
        lease_end=LeaseEnd.INSTANCE_KEY, user_data=True, stops=True, settle_seconds=60.0, poll_seconds=3.0
    )

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self._options = checked_options(self.name, Options, options)
        key = secret("RUNPOD_API_KEY", provider="RunPod", where=f"{CONSOLE}/user/settings")
        self.account = fingerprint(key)
        self._url = base_url(self.name, URL)
        self._api = Api(
            self.name,
            self._url,
            {"Authorization": SecretStr(f"Bearer {key.get_secret_value()}")},
            _translate,
            # 60 a minute and 3000 an hour, by the answers' RateLimit-Policy.
            Pace(f"runpod-{self.account}", 1.2, burst=30),
        )

    async def offers(self) -> list[Offer]:
        clouds = ("SECURE", "COMMUNITY") if self._options.cloud == "any" else (self._options.cloud.upper(),)
        found = await asyncio.gather(
            *(self._gpu_offers(cloud, count) for cloud in clouds for count in COUNTS),
            *(self._cpu_offers(vcpus) for vcpus in VCPUS if "SECURE" in clouds),
        )
        return [offer for part in found for offer in part]

    async def launch(self, request: LaunchRequest) -> Instance:
        """Where RunPod's words do not tell the want of a machine from a broken rule it is BadRequest."""
        answer = await self._api.write("POST", "/v2/pods", self._body(request))
        return _instance(checked(self.name, Pod, answer))

    async def get(self, instance_id: str) -> Instance | None:
        try:
            answer = await self._api.read(f"/v2/pods/{_id(instance_id)}")
        except _NotThere:
            return None
        return _instance(checked(self.name, Pod, answer))

    async def terminate(self, instance_id: str) -> None:
        try:
            await self._api.write("DELETE", f"/v2/pods/{_id(instance_id)}")
        except _NotThere:
            return

    async def stop(self, instance_id: str) -> None:
        """The container's disk is wiped; a network volume stays, and bills."""
        await self._act(instance_id, "stop")

    async def start(self, instance_id: str) -> None:
        """The pod's machine may have no free GPU by now: NoCapacity."""
        await self._act(instance_id, "start")

    async def leftovers(self) -> list[Leftover]:
        """Network volumes. RunPod's API does not say what they cost."""
        answer = await self._api.read("/v2/network-volumes")
        return [
            Leftover("volume", v.id, v.name, v.place, v.size, None, v.name.startswith("gpusess"))
            for v in checked(self.name, Volumes, answer).volumes
        ]

    def end_command(self, instance: Instance) -> EndCommand:
        del instance
        return EndCommand(container.END)

    async def close(self) -> None:
        await self._api.close()

    async def _act(self, instance_id: str, action: str) -> None:
        await self._api.write("POST", f"/v2/pods/{_id(instance_id)}/action", {"action": action})

    async def _gpu_offers(self, cloud: str, count: int) -> list[Offer]:
        asked = {"include": "AVAILABILITY", "product": "POD", "count": count, "cloud": cloud}
        gpus = checked(self.name, Gpus, await self._api.read("/v2/catalog/gpus", asked)).gpus
        return [offer for gpu in gpus for offer in _gpu_rows(gpu, cloud, count)]

    async def _cpu_offers(self, vcpus: int) -> list[Offer]:
        asked = {"include": "AVAILABILITY", "product": "POD", "vcpuCount": vcpus}
        cpus = checked(self.name, Cpus, await self._api.read("/v2/catalog/cpus", asked)).cpus
        return [offer for cpu in cpus for offer in _cpu_rows(cpu, vcpus)]

    def _body(self, request: LaunchRequest) -> dict[str, Any]:
        chosen, what = self._options, request.offer.detail
        script = container.container_script(request, _ends(self._url))
        body: dict[str, Any] = {
            "name": request.name,
            "cloud": what["cloud"],
            "image": chosen.image,
            "disk": chosen.disk,
            "ports": ["22/tcp"],
            "args": f"bash -c '{container.COMMAND}'",
            "env": {
                container.START_VARIABLE: container.packed(script),
                container.TAGS_VARIABLE: container.packed_tags(request.tags),
            },
        }
        if request.offer.gpus:
            least = chosen.min_cuda or (IMAGE_CUDA if chosen.image == IMAGE else None)
            body["gpu"] = {"id": what["id"], "count": request.offer.gpus}
            body["gpu"] |= {"minCudaVersion": least} if least else {}
        else:
            body["cpu"] = {"id": what["id"], "vcpuCount": request.offer.vcpus}
        if request.offer.region != ANYWHERE:
            body["dataCenterIds"] = [request.offer.region]
        if chosen.volume:
            body["mounts"] = {"network": [{"volumeId": chosen.volume, "path": chosen.volume_path}]}
        return body

    # Last, since its name hides the builtin from annotations below it.
    async def list(self) -> list[Instance]:
        answer = await self._api.read("/v2/pods")
        return [_instance(pod) for pod in checked(self.name, Pods, answer).pods]


def _ends(url: str) -> list[container.EndCall]:
    """A pod has a key of its own. Which of RunPod's APIs takes it is not written anywhere: both are tried."""
    pod, key = "${RUNPOD_POD_ID:-}", "${RUNPOD_API_KEY:-}"
    mutation = f'{{"query":"mutation{{podTerminate(input:{{podId:\\"{pod}\\"}})}}"}}'
    return [
        container.EndCall("DELETE", f"{url}/v2/pods/{pod}", key),
        container.EndCall("POST", f"{url}/graphql", key, mutation),
    ]


def _gpu_rows(gpu: Gpu, cloud: str, count: int) -> list[Offer]:
    secure = cloud == "SECURE"
    if count > (gpu.max_count.secure if secure else gpu.max_count.community):
        return []
    price = gpu.price.secure if secure else gpu.price.community
    return [
        Offer(
            provider="runpod",
            name=_type(gpu.id, count),
            region=place.id,
            price=round(price * count, 4),
            gpu=gpu.name,
            gpus=count,
            vcpus=0,
            memory_gib=0.0,
            available=place.availability != "NONE",
            gpu_memory_gib=gpu.memory,
            detail={"id": gpu.id, "cloud": cloud, "stock": place.availability.lower()},
        )
        for place in gpu.places or [Place(id=ANYWHERE, availability=gpu.availability)]
    ]


def _cpu_rows(cpu: Cpu, vcpus: int) -> list[Offer]:
    if not cpu.vcpu.min <= vcpus <= cpu.vcpu.max:
        return []
    return [
        Offer(
            provider="runpod",
            name=_cpu_type(cpu.id, vcpus),
            region=place.id,
            price=round(cpu.price.per_vcpu * vcpus, 4),
            gpu="",
            gpus=0,
            vcpus=vcpus,
            memory_gib=cpu.memory * vcpus,
            available=place.availability != "NONE",
            detail={"id": cpu.id, "cloud": "SECURE", "stock": place.availability.lower()},
        )
        for place in cpu.places or [Place(id=ANYWHERE, availability=cpu.availability)]
    ]


def _type(gpu_id: str, count: int) -> str:
    return gpu_id if count == 1 else f"{count}x {gpu_id}"


def _cpu_type(cpu_id: str, vcpus: int) -> str:
    return f"{cpu_id} {vcpus} vCPU"


def _instance(pod: Pod) -> Instance:
    ssh = pod.ssh.direct if pod.ssh else None
    # A status that a later API brings is shown as trouble, and never as an end.
    status = _STATUS.get(pod.status, InstanceStatus.FAILED)
    kind = _type(pod.gpu.id, pod.gpu.count) if pod.gpu else ""
    return Instance(
        id=pod.id,
        name=pod.name,
        status=status,
        endpoint=Endpoint(ssh.host, ssh.port, ssh.username) if ssh else None,
        price=pod.cost,
        tags=container.unpacked_tags((pod.env or {}).get(container.TAGS_VARIABLE)),
        reason=f"RunPod says {pod.status}" if status is InstanceStatus.FAILED else "",
        type=kind or (_cpu_type(pod.cpu.id, pod.cpu.vcpus) if pod.cpu else ""),
        region=pod.place or "",
        created=pod.created.timestamp() if pod.created else None,
    )


def _id(instance_id: str) -> str:
    """Fit for a path: an id from elsewhere must not name another call."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", instance_id):
        raise BadRequest(f"'{instance_id}' is no pod's id", "`gpusess instances` lists them")
    return instance_id


def _translate(refusal: Refusal) -> ProviderError | None:
    body = refusal.body if isinstance(refusal.body, dict) else {}
    if not isinstance(body.get("detail"), str):
        return (
            ProviderFault("RunPod answered 404 in a form that is not its own", "try again")
            if refusal.status == 404
            else None
        )
    more = body.get("errors")
    said = one_line("; ".join(map(str, [body["detail"], *(more if isinstance(more, list) else [])])))
    match refusal.status:
        case 400 if _CAPACITY.search(said):
            return NoCapacity(
                f"RunPod: {said}", "take another GPU or region, or wait for capacity with --wait"
            )
        case 400 | 409 | 422:
            return BadRequest(f"RunPod refused: {said}", "see docs/providers/runpod.md")
        case 401:
            return AuthRefused(
                f"RunPod refused the key: {said}", f"make a new one at {CONSOLE}/user/settings"
            )
        case 402:
            return QuotaExceeded(f"RunPod: {said}", f"add credit at {CONSOLE}/user/billing")
        case 403:
            return AuthRefused(
                f"RunPod: the key or the account may not do that: {said}",
                "give the key the right to read and write pods, or take another GPU",
            )
        case 404:
            return _NotThere(f"RunPod: {said}", "`gpusess instances` lists what is there")
    return None
