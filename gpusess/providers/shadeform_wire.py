"""Shadeform's JSON: what is kept of it, and what it means in our words.

Shadeform documents no error at all: refusals are told apart by status and, with care, by their words.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from gpusess.errors import AuthRefused, BadRequest, NoCapacity, ProviderError, QuotaExceeded
from gpusess.providers.base import Endpoint, Instance, InstanceStatus, Offer
from gpusess.providers.http import Refusal

KEY = "SHADEFORM_API_KEY"
CONSOLE = "https://platform.shadeform.ai/settings/api"

_STATUS = {
    "creating": InstanceStatus.BOOTING,
    "pending_provider": InstanceStatus.BOOTING,
    "pending": InstanceStatus.BOOTING,
    "active": InstanceStatus.RUNNING,
    "error": InstanceStatus.FAILED,
    "deleting": InstanceStatus.TERMINATING,
    "deleted": InstanceStatus.TERMINATED,
}
_SOLD_OUT = re.compile(
    r"out.of.stock|no capacity|insufficient.capacity|sold.out|not available", re.IGNORECASE
)
_TOO_MUCH = re.compile(r"quota|limit (is )?(reached|exceeded)", re.IGNORECASE)
_UNPAID = re.compile(r"balance|payment|billing|credit|funds", re.IGNORECASE)


class Place(BaseModel):
    region: str
    available: bool


class Configuration(BaseModel):
    gpu_type: str
    num_gpus: int
    vcpus: int
    memory_in_gb: float
    vram_per_gpu_in_gb: float
    interconnect: str = ""


class Type(BaseModel):
    cloud: str
    shade_instance_type: str
    deployment_type: str
    hourly_price: int = Field(ge=0)
    configuration: Configuration
    availability: list[Place]


class WireInstance(BaseModel):
    id: str
    name: str
    cloud: str
    region: str
    shade_instance_type: str
    status: str
    status_details: str = ""
    ip: str = ""
    ssh_user: str = ""
    ssh_port: int = 0
    hourly_price: int = Field(default=0, ge=0)
    tags: list[str] = Field(default_factory=list)
    created_at: str = ""


class Key(BaseModel):
    id: str
    name: str


class Volume(BaseModel):
    id: str
    cloud: str
    name: str
    region: str
    size_in_gb: float


class VolumeType(BaseModel):
    cloud: str
    region: str
    price_per_gb_per_hour: str


class Id(BaseModel):
    id: str


class NotThere(BadRequest):
    """Shadeform says that there is no such thing."""


def to_offer(kind: Type, place: Place) -> Offer:
    spec = kind.configuration
    return Offer(
        provider="shadeform",
        name=f"{kind.cloud}/{kind.shade_instance_type}",
        region=place.region,
        price=kind.hourly_price / 100,
        gpu=f"{spec.gpu_type} {spec.interconnect.upper()}".strip() if spec.num_gpus else "",
        gpus=spec.num_gpus,
        vcpus=spec.vcpus,
        memory_gib=spec.memory_in_gb,
        available=place.available,
        gpu_memory_gib=spec.vram_per_gpu_in_gb if spec.num_gpus else 0.0,
        detail={"cloud": kind.cloud, "shade_instance_type": kind.shade_instance_type},
    )


def to_instance(row: WireInstance) -> Instance:
    status = _STATUS.get(row.status, InstanceStatus.FAILED)
    reason = f"Shadeform calls it {row.status} {row.status_details}".strip()
    reachable = row.ip and row.ssh_port and row.ssh_user
    return Instance(
        id=row.id,
        name=row.name,
        status=status,
        endpoint=Endpoint(row.ip, row.ssh_port, row.ssh_user) if reachable else None,
        price=row.hourly_price / 100,
        tags=dict(tag.partition("=")[::2] for tag in row.tags),
        reason=reason if status is InstanceStatus.FAILED else "",
        type=f"{row.cloud}/{row.shade_instance_type}",
        region=row.region,
        created=_epoch(row.created_at),
    )


def _epoch(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def dollars(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def translate(refusal: Refusal) -> ProviderError | None:
    if isinstance(refusal.body, str) or refusal.status == 429 or not 400 <= refusal.status < 500:
        return None
    said = f"shadeform: {refusal.text}"
    if refusal.status == 404:
        return NotThere(said, "see `resources` in the spec: type, region, options")
    if refusal.status == 401:
        return AuthRefused(said, f"make a key at {CONSOLE} and give it as {KEY}")
    words = json.dumps(refusal.body)
    if _SOLD_OUT.search(words):
        return NoCapacity(said, "choose another region or type, or wait: `gpusess up --wait`")
    if _TOO_MUCH.search(words):
        return QuotaExceeded(said, "terminate something, or ask Shadeform for a larger quota")
    if refusal.status == 402 or _UNPAID.search(words):
        return AuthRefused(said, "look at the account's balance and payment method")
    return None
