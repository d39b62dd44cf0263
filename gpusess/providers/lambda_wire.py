"""Lambda Cloud's JSON: what is kept of it, and what it means in our words.

Errors are told apart by their `code` alone; an instance's Jupyter token is never kept.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, Field

from gpusess.errors import AuthRefused, BadRequest, NoCapacity, ProviderError, ProviderFault, QuotaExceeded
from gpusess.providers.base import Endpoint, Instance, InstanceStatus, Offer
from gpusess.providers.http import Refusal, one_line

KEY = "LAMBDA_API_KEY"
CONSOLE = "https://cloud.lambda.ai/api-keys"
SSH_USER = "ubuntu"
SSH_PORT = 22

_STATUS = {
    "booting": InstanceStatus.BOOTING,
    "active": InstanceStatus.RUNNING,
    "unhealthy": InstanceStatus.FAILED,
    "terminating": InstanceStatus.TERMINATING,
    "terminated": InstanceStatus.TERMINATED,
    "preempted": InstanceStatus.PREEMPTED,
}
_GPU = re.compile(r"(?P<model>.+?) \((?P<memory>\d+) ?GB ?(?P<form>.*)\)")


class Named(BaseModel):
    name: str


class Specs(BaseModel):
    vcpus: int
    memory_gib: int
    gpus: int


class Type(BaseModel):
    name: str
    gpu_description: str
    price_cents_per_hour: int = Field(ge=0)
    specs: Specs


class Stock(BaseModel):
    instance_type: Type
    regions_with_capacity_available: list[Named]


class Tag(BaseModel):
    key: str
    value: str


class WireInstance(BaseModel):
    """What is kept of an instance: no token, no URL that holds one."""

    id: str
    name: str = ""
    ip: str = ""
    status: str
    ssh_key_names: list[str]
    region: Named
    instance_type: Type
    tags: list[Tag] = Field(default_factory=list)


class Key(BaseModel):
    id: str
    name: str


class Image(BaseModel):
    id: str
    family: str
    version: str
    architecture: str
    region: Named


class FileSystem(BaseModel):
    id: str
    name: str
    region: Named
    bytes_used: int = 0


class Ruleset(BaseModel):
    id: str
    name: str
    region: Named


class NotThere(BadRequest):
    """Lambda says that the named object does not exist."""


def data(answer: Any) -> Any:
    return answer.get("data") if isinstance(answer, dict) else None


def to_offers(stock: Stock) -> list[Offer]:
    """One for each region with capacity; where there is none, one without a region that is not available."""
    kind = stock.instance_type
    found = _GPU.fullmatch(kind.gpu_description)
    gpus = kind.specs.gpus
    model = f"{found['model']} {found['form']}".strip() if found else kind.gpu_description
    return [
        Offer(
            provider="lambda",
            name=kind.name,
            region=region,
            price=kind.price_cents_per_hour / 100,
            gpu=model if gpus else "",
            gpus=gpus,
            vcpus=kind.specs.vcpus,
            memory_gib=kind.specs.memory_gib,
            available=bool(region),
            gpu_memory_gib=float(found["memory"]) if found and gpus else 0.0,
        )
        for region in [r.name for r in stock.regions_with_capacity_available] or [""]
    ]


def to_instance(row: WireInstance) -> Instance:
    status = _STATUS.get(row.status, InstanceStatus.FAILED)
    broken = status in (InstanceStatus.FAILED, InstanceStatus.PREEMPTED)
    return Instance(
        id=row.id,
        name=row.name,
        status=status,
        endpoint=Endpoint(row.ip, SSH_PORT, SSH_USER) if row.ip else None,
        price=row.instance_type.price_cents_per_hour / 100,
        tags={tag.key: tag.value for tag in row.tags},
        reason=f"Lambda calls it {row.status}" if broken else "",
        type=row.instance_type.name,
        region=row.region.name,
    )


def translate(refusal: Refusal) -> ProviderError | None:
    """By `code`, as Lambda asks; its messages may change. Without one the HTTP status decides."""
    error = refusal.body.get("error") if isinstance(refusal.body, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return None
    code = error["code"]
    said = f"lambda: {code}: {one_line(error.get('message', ''))}"
    match code:
        case "instance-operations/launch/insufficient-capacity":
            return NoCapacity(said, "choose another region or type, or wait: `gpusess up --wait`")
        case "global/quota-exceeded":
            return QuotaExceeded(said, "terminate something, or ask Lambda's support for a larger quota")
        case "global/invalid-api-key":
            return AuthRefused(said, f"make a key at {CONSOLE} and give it as {KEY}")
        case "global/account-inactive" | "global/invalid-address" | "global/forbidden":
            return AuthRefused(said, "look at the account's e-mail, payment method and billing address")
        case "global/object-does-not-exist":
            return NotThere(said, "see `resources` in the spec: type, region, image, file systems")
        case "instance-operations/launch/file-system-in-wrong-region":
            return BadRequest(said, "set `resources.region` to the file system's region")
        case "global/internal-error" | "global/unknown":
            return ProviderFault(said, "try again; Lambda's status page may say more")
    if code.startswith("provider/"):
        return ProviderFault(said, "Lambda's own supplier is in trouble: try again")
    if 400 <= refusal.status < 500 and refusal.status != 429:
        return BadRequest(said, "see docs/providers/lambda.md")
    return None
