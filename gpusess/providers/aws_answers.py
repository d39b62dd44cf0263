"""EC2's answers as far as gpusess reads them, after `aws_query` has made tables of the XML.

What an answer is there for has no default: an answer without it is another one, and no empty list.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")


def _or_none_listed(value: object) -> object:
    """An empty list is an empty element, which looks like an empty text."""
    return [] if value is None else value


Many = Annotated[list[T], BeforeValidator(_or_none_listed)]


class Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Vcpus(Answer):
    count: int = Field(alias="defaultVCpus")


class _Mib(Answer):
    size: float = Field(alias="sizeInMiB")


class _Gpu(Answer):
    name: str
    maker: str = Field(alias="manufacturer")
    count: int
    memory: _Mib = Field(alias="memoryInfo")


class _Gpus(Answer):
    gpus: Many[_Gpu] = []


class _Processor(Answer):
    architectures: Many[str] = Field(default=[], alias="supportedArchitectures")


class Type(Answer):
    name: str = Field(alias="instanceType")
    vcpus: _Vcpus = Field(alias="vCpuInfo")
    memory: _Mib = Field(alias="memoryInfo")
    processor: _Processor = Field(alias="processorInfo")
    gpu_info: _Gpus | None = Field(default=None, alias="gpuInfo")
    usages: Many[str] = Field(default=[], alias="supportedUsageClasses")

    @property
    def gpus(self) -> list[_Gpu]:
        return self.gpu_info.gpus if self.gpu_info else []


class Types(Answer):
    types: Many[Type] = Field(alias="instanceTypeSet")


class _TypeHere(Answer):
    name: str = Field(alias="instanceType")


class Offerings(Answer):
    offerings: Many[_TypeHere] = Field(alias="instanceTypeOfferingSet")


class SpotPrice(Answer):
    name: str = Field(alias="instanceType")
    zone: str = Field(alias="availabilityZone")
    price: float = Field(alias="spotPrice", ge=0)
    at: datetime = Field(alias="timestamp")


class SpotPrices(Answer):
    prices: Many[SpotPrice] = Field(alias="spotPriceHistorySet")


class _Tag(Answer):
    key: str
    value: str | None = None


class _State(Answer):
    name: str


class _Reason(Answer):
    code: str | None = None
    message: str | None = None


class Machine(Answer):
    id: str = Field(alias="instanceId")
    state: _State = Field(alias="instanceState")
    type: str = Field(alias="instanceType")
    address: str | None = Field(default=None, alias="ipAddress")
    private: str | None = Field(default=None, alias="privateIpAddress")
    launched: datetime | None = Field(default=None, alias="launchTime")
    lifecycle: str | None = Field(default=None, alias="instanceLifecycle")
    reason: _Reason | None = Field(default=None, alias="stateReason")
    tags: Many[_Tag] = Field(default=[], alias="tagSet")

    @property
    def tag_table(self) -> dict[str, str]:
        return {tag.key: tag.value or "" for tag in self.tags}


class Launched(Answer):
    """What `RunInstances` answers, and each reservation of `DescribeInstances`."""

    instances: Many[Machine] = Field(alias="instancesSet")


class Reservations(Answer):
    reservations: Many[Launched] = Field(alias="reservationSet")

    @property
    def machines(self) -> list[Machine]:
        return [machine for one in self.reservations for machine in one.instances]


class _Region(Answer):
    name: str = Field(alias="regionName")


class Regions(Answer):
    regions: Many[_Region] = Field(alias="regionInfo")


class _Ebs(Answer):
    size: float | None = Field(default=None, alias="volumeSize")


class _Mapping(Answer):
    device: str = Field(alias="deviceName")
    ebs: _Ebs | None = None


class Image(Answer):
    id: str = Field(alias="imageId")
    root: str = Field(alias="rootDeviceName")
    mappings: Many[_Mapping] = Field(default=[], alias="blockDeviceMapping")

    @property
    def least_gib(self) -> float:
        """The image's own size: its root volume cannot be smaller."""
        return max((m.ebs.size or 0.0 for m in self.mappings if m.ebs and m.device == self.root), default=0.0)


class Images(Answer):
    images: Many[Image] = Field(alias="imagesSet")


class _Group(Answer):
    id: str = Field(alias="groupId")


class Groups(Answer):
    groups: Many[_Group] = Field(alias="securityGroupInfo")


class NewGroup(Answer):
    id: str = Field(alias="groupId")


class _Volume(Answer):
    id: str = Field(alias="volumeId")
    size: float
    tags: Many[_Tag] = Field(default=[], alias="tagSet")

    @property
    def tag_table(self) -> dict[str, str]:
        return {tag.key: tag.value or "" for tag in self.tags}


class Volumes(Answer):
    volumes: Many[_Volume] = Field(alias="volumeSet")


class _Parameter(Answer):
    value: str = Field(alias="Value", pattern=r"^ami-[0-9a-f]+$")


class Parameter(Answer):
    parameter: _Parameter = Field(alias="Parameter")


class Products(Answer):
    """A page of the price list. Each product is JSON in a text."""

    products: list[Any] = Field(default=[], alias="PriceList")
    token: str | None = Field(default=None, alias="NextToken")
