"""Vast.ai, a market of other people's machines: containers with a mapped SSH port, on demand or by bid.

The API's document: https://docs.vast.ai/api-reference.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gpusess.errors import BadRequest, ProviderFault
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
    launched,
)
from gpusess.providers.http import Api, base_url, checked, fingerprint, one_line, secret
from gpusess.providers.options import checked_options
from gpusess.providers.pacing import Pace
from gpusess.providers.vast_answers import COLUMNS, Ask, Asks, Launched, One, Page, Rented, Volumes
from gpusess.providers.vast_errors import CONSOLE, NotThere, agreed, translate

URL = "https://console.vast.ai"
IMAGE = "pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime"
IMAGE_CUDA = 12.8
LEAST_GPU_RAM = 8_000
"""MB; smaller GPUs are not listed."""
SEARCH_LIMIT = 1000
"""Offers of one search, the best by Vast's own score."""
PAGE = 25
MOST_PAGES = 400
PACES = {"asks": 4.6, "destroy": 3.1, "instances": 2.1, "instance": 2.1, "manage": 1.6, "search": 2.1}
"""Seconds between calls of one kind: Vast limits each by itself, and names the interval in its refusals."""

_ENDED = ("exited", "offline", "unknown")
"""From these no container ever comes to run again by itself."""


class Options(BaseModel):
    """`resources.options` of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = IMAGE
    disk: float = Field(default=50.0, ge=8)
    """GB; part of the price, and billed while stopped."""
    min_cuda: float | None = None
    """The host's least CUDA version; None: what the default image needs."""
    reliability: float = Field(default=0.98, ge=0, le=1)
    """Least share of time that the machine was up."""
    bid: float = Field(default=1.1, ge=1)
    """What is bid for a spot instance, as a multiple of the least bid."""


class VastProvider:
    """Instances of one account; the key comes from `VAST_API_KEY`. Options: see `Options`."""

    name = "vast"
    abilities = Abilities(
        lease_end=LeaseEnd.INSTANCE_KEY,
        user_data=True,
        spot=True,
        stops=True,
        settle_seconds=60.0,
        poll_seconds=5.0,
        refusals_create=True,
    )

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self._options = checked_options(self.name, Options, options)
        key = secret("VAST_API_KEY", provider="Vast.ai", where=f"{CONSOLE}/manage-keys/")
        self.account = fingerprint(key)
        self._url = base_url(self.name, URL)
        headers = {"Authorization": SecretStr(f"Bearer {key.get_secret_value()}")}
        self._lanes = {
            lane: Api(
                self.name,
                self._url,
                headers,
                translate,
                Pace(f"vast-{self.account}-{lane}", seconds, burst=2 if lane == "search" else 1),
            )
            for lane, seconds in PACES.items()
        }

    async def offers(self) -> list[Offer]:
        """The best 1000 on demand and the best 1000 by bid, of machines that can map a port."""
        on_demand, by_bid = await asyncio.gather(self._search(spot=False), self._search(spot=True))
        found = [(ask, False) for ask in on_demand] + [(ask, True) for ask in by_bid]
        return [_offer(ask, spot, self._options.bid) for ask, spot in found if ask.gpus > 0]

    async def launch(self, request: LaunchRequest) -> Instance:
        """ProviderFault where Vast refuses a bid and yet says that it has made an instance."""
        ask, chosen = request.offer.detail["ask"], self._options
        script = container.container_script(request, [_end(self._url)])
        body: dict[str, Any] = {
            "image": chosen.image,
            "disk": chosen.disk,
            "label": request.name,
            "runtype": "args",
            # In this mode `onstart` is what the container runs in place of its image's entrypoint.
            "onstart": "/bin/sh",
            "args": ["-c", container.COMMAND],
            "env": {
                container.START_VARIABLE: container.packed(script),
                container.TAGS_VARIABLE: container.packed_tags(request.tags),
                "-p 22:22": "1",
            },
            "target_state": "running",
            # Otherwise a machine that cannot start now keeps a stopped instance, which bills its disk.
            "cancel_unavail": True,
        }
        if request.offer.spot:
            body["price"] = request.offer.detail["bid"]
        answer = await self._lanes["asks"].write("PUT", f"/api/v0/asks/{int(ask)}/", body)
        made = checked(self.name, Launched, agreed(answer))
        return launched(str(made.id), request)

    async def get(self, instance_id: str) -> Instance | None:
        try:
            answer = await self._lanes["instance"].read(f"/api/v0/instances/{_id(instance_id)}/")
        except NotThere:
            return None
        found = checked(self.name, One, answer).instances
        if found is None:
            return None
        one = _instance(found)
        if one.status is not InstanceStatus.RUNNING or one.endpoint:
            return one
        # The list shows the mapped ports where a look at the one instance may not.
        page = await self._page(select_filters=json.dumps({"id": {"eq": found.id}}))
        return next((_instance(i) for i in page.instances if i.id == found.id), one)

    async def terminate(self, instance_id: str) -> None:
        try:
            agreed(await self._lanes["destroy"].write("DELETE", f"/api/v0/instances/{_id(instance_id)}/"))
        except NotThere:
            return

    async def stop(self, instance_id: str) -> None:
        """The disk stays, and bills."""
        await self._manage(instance_id, "stopped")

    async def start(self, instance_id: str) -> None:
        """The machine's GPUs may be somebody else's by now: it then waits for them."""
        await self._manage(instance_id, "running")

    async def leftovers(self) -> list[Leftover]:
        answer = await self._lanes["instances"].read("/api/v0/volumes/")
        return [
            Leftover(
                "volume", str(v.id), v.label or "", _region(v.place), v.size or 0.0, v.price,
                (v.label or "").startswith("gpusess"),
            )
            for v in checked(self.name, Volumes, answer).volumes
        ]  # fmt: skip

    def end_command(self, instance: Instance) -> EndCommand:
        del instance
        return EndCommand(container.END)

    async def close(self) -> None:
        for api in self._lanes.values():
            await api.close()

    async def _manage(self, instance_id: str, state: str) -> None:
        path = f"/api/v0/instances/{_id(instance_id)}/"
        agreed(await self._lanes["manage"].write("PUT", path, {"state": state}))

    async def _search(self, spot: bool) -> list[Ask]:
        chosen = self._options
        least = chosen.min_cuda or (IMAGE_CUDA if chosen.image == IMAGE else 0.0)
        wanted: dict[str, Any] = {
            "verified": {"eq": True},
            "external": {"eq": False},
            "rentable": {"eq": True},
            "rented": {"eq": False},
            "reliability": {"gte": chosen.reliability},
            "gpu_ram": {"gte": LEAST_GPU_RAM},
            "cuda_max_good": {"gte": least},
            "direct_port_count": {"gte": 1},
            "disk_space": {"gte": chosen.disk},
            "order": [["score", "desc"]],
            "allocated_storage": chosen.disk,
            "limit": SEARCH_LIMIT,
        }
        if spot:
            wanted["type"] = "bid"
        answer = await self._lanes["search"].read("/api/v0/bundles/", method="POST", body=wanted)
        return checked(self.name, Asks, answer).offers

    async def _page(self, **asked: str) -> Page:
        params = {"limit": PAGE, "select_cols": json.dumps(COLUMNS), **asked}
        return checked(self.name, Page, await self._lanes["instances"].read("/api/v1/instances/", params))

    # Last, since its name hides the builtin from annotations below it.
    async def list(self) -> list[Instance]:
        """All pages or an error: a part of the list would look like the absence of the rest."""
        found, token = [], ""
        for _ in range(MOST_PAGES):
            page = await self._page(**({"after_token": token} if token else {}))
            found += [_instance(one) for one in page.instances]
            if not page.next_token:
                return found
            if page.next_token == token:
                break
            token = page.next_token
        raise ProviderFault("vast's list of instances has no end", "try again; it may be Vast's trouble")


def _end(url: str) -> container.EndCall:
    """By the key that Vast puts into each container, which can start, stop and destroy only that one."""
    return container.EndCall(
        "DELETE", f"{url}/api/v0/instances/${{CONTAINER_ID:-}}/", "${CONTAINER_API_KEY:-}"
    )


def _offer(ask: Ask, spot: bool, margin: float) -> Offer:
    bid = round((ask.min_bid or 0.0) * margin, 4)
    detail: dict[str, Any] = {
        "ask": ask.id,
        "machine": ask.machine,
        "place": one_line(ask.place or ""),
        "reliability": ask.reliability,
    }
    return Offer(
        provider="vast",
        name=_type(ask.gpus, ask.gpu),
        region=_region(ask.place),
        price=round(ask.price + (bid - (ask.min_bid or 0.0) if spot else 0.0), 4),
        gpu=ask.gpu,
        gpus=ask.gpus,
        vcpus=int(ask.vcpus or 0),
        memory_gib=round((ask.memory or 0.0) * (ask.fraction or 1.0) / 1024, 1),
        available=ask.rentable is not False and not (spot and not ask.min_bid),
        gpu_memory_gib=round(ask.gpu_ram / 1024, 1),
        spot=spot,
        detail=detail | ({"bid": bid} if spot else {}),
    )


def _instance(one: Rented) -> Instance:
    status = _status(one)
    running = status is InstanceStatus.RUNNING
    ports = one.ports if isinstance(one.ports, dict) else {}
    port = next(iter(ports.get("22/tcp") or []), None)
    address = (one.address or "").strip()
    billed = one.storage if status in (InstanceStatus.STOPPED, InstanceStatus.PREEMPTED) else one.price
    return Instance(
        id=str(one.id),
        name=one.label or "",
        status=status,
        endpoint=Endpoint(address, port.port, "root") if running and port and address else None,
        price=billed or 0.0,
        tags=container.unpacked_tags(_variable(one.environment, container.TAGS_VARIABLE)),
        reason=one_line(one.said or one.actual) if status is InstanceStatus.FAILED else "",
        type=_type(one.gpus or 0, one.gpu or ""),
        region=_region(one.place),
        created=one.started,
    )


def _status(one: Rented) -> InstanceStatus:
    """A bid that was beaten reads like a stop that its user asked for: a stopped bid counts as taken away."""
    if "stopped" in (one.intended, one.state) and one.actual != "running":
        return InstanceStatus.PREEMPTED if one.bid else InstanceStatus.STOPPED
    if one.actual == "running":
        return InstanceStatus.RUNNING
    if one.actual in _ENDED or (one.said or "").lower().startswith("error"):
        return InstanceStatus.FAILED
    return InstanceStatus.BOOTING


def _variable(environment: Any, name: str) -> str | None:
    """A variable's value out of pairs, a table, or lines `NAME=VALUE`."""
    if isinstance(environment, dict):
        environment = list(environment.items())
    for entry in environment if isinstance(environment, list) else []:
        pair = entry.split("=", 1) if isinstance(entry, str) else entry
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and str(pair[0]).removeprefix("-e ") == name:
            return str(pair[1])
    return None


def _type(gpus: int, gpu: str) -> str:
    return f"{gpus}x {gpu}"


def _region(place: str | None) -> str:
    """The country's code out of `Texas, US`."""
    return one_line(place or "").rpartition(",")[2].strip() or "anywhere"


def _id(instance_id: str) -> str:
    if not instance_id.isascii() or not instance_id.isdigit():
        raise BadRequest(f"'{instance_id}' is no Vast instance", "`gpusess instances` lists them")
    return instance_id
