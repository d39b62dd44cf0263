"""RunPod's JSON as far as gpusess reads it (REST API v2)."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Place(Answer):
    id: str
    availability: str = "NONE"


class PerCloud(Answer):
    secure: float = Field(ge=0)
    community: float = Field(ge=0)


class Gpu(Answer):
    id: str
    name: str
    memory: float
    price: PerCloud
    max_count: PerCloud = Field(alias="maxCount")
    availability: str = "NONE"
    places: list[Place] = Field(default=[], alias="dataCenters")


class Gpus(Answer):
    gpus: list[Gpu]


class VcpuRange(Answer):
    min: int
    max: int


class CpuPrice(Answer):
    per_vcpu: float = Field(alias="securePerVcpu", ge=0)


class Cpu(Answer):
    id: str
    name: str
    vcpu: VcpuRange
    memory: float = Field(alias="ramGbPerVcpu")
    price: CpuPrice
    availability: str = "NONE"
    places: list[Place] = Field(default=[], alias="dataCenters")


class Cpus(Answer):
    cpus: list[Cpu]


class Ssh(Answer):
    host: str
    port: int
    username: str


class SshWays(Answer):
    direct: Ssh | None = None


class PodGpu(Answer):
    id: str
    count: int = 1


class PodCpu(Answer):
    id: str
    vcpus: int = Field(alias="vcpuCount")


class Pod(Answer):
    id: str
    name: str
    status: str
    env: dict[str, str] | None = None
    ssh: SshWays | None = None
    gpu: PodGpu | None = None
    cpu: PodCpu | None = None
    place: str | None = Field(default=None, alias="dataCenterId")
    cost: float = Field(default=0.0, ge=0)
    created: datetime | None = Field(default=None, alias="createdAt")


class Pods(Answer):
    pods: list[Pod]


class Volume(Answer):
    id: str
    name: str
    size: float
    place: str = Field(alias="dataCenter")


class Volumes(Answer):
    volumes: list[Volume] = Field(alias="networkVolumes")
