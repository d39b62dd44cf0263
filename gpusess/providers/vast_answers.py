"""Vast.ai's JSON as far as gpusess reads it. Its fields come and go, and are null at will."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Ask(Answer):
    """A machine, or a part of one, that somebody offers."""

    id: int
    gpu: str = Field(alias="gpu_name")
    gpus: int = Field(alias="num_gpus")
    gpu_ram: float
    """MB of one GPU."""
    price: float = Field(alias="dph_total", ge=0)
    """$ per hour with the storage that was asked for; of a bid: at the least bid."""
    min_bid: float | None = Field(default=None, ge=0)
    place: str | None = Field(default=None, alias="geolocation")
    """`Texas, US`."""
    vcpus: float | None = Field(default=None, alias="cpu_cores_effective")
    memory: float | None = Field(default=None, alias="cpu_ram")
    """MB of the whole machine."""
    fraction: float | None = Field(default=None, alias="gpu_frac")
    """The part of the machine's GPUs, and with it of its memory."""
    reliability: float | None = Field(default=None, alias="reliability2")
    machine: int | None = Field(default=None, alias="machine_id")
    rentable: bool | None = True


class Asks(Answer):
    offers: list[Ask]


class Port(Answer):
    port: int = Field(alias="HostPort", ge=1, le=65535)


class Rented(Answer):
    """An instance. No tokens are read."""

    id: int
    label: str | None = None
    actual: str | None = Field(default=None, alias="actual_status")
    intended: str | None = Field(default=None, alias="intended_status")
    state: str | None = Field(default=None, alias="cur_state")
    said: str | None = Field(default=None, alias="status_msg")
    address: str | None = Field(default=None, alias="public_ipaddr")
    ports: dict[str, list[Port] | None] | list[Any] | None = None
    """The mapped ports; the document has a list of bare numbers in their place too, which says nothing."""
    environment: Any = Field(default=None, alias="extra_env")
    """Pairs, or lines: the API's document has both."""
    price: float | None = Field(default=None, alias="dph_total", ge=0)
    storage: float | None = Field(default=None, alias="storage_total_cost", ge=0)
    """$ per hour of its disk."""
    bid: bool | None = Field(default=None, alias="is_bid")
    gpu: str | None = Field(default=None, alias="gpu_name")
    gpus: int | None = Field(default=None, alias="num_gpus")
    place: str | None = Field(default=None, alias="geolocation")
    started: float | None = Field(default=None, alias="start_date")


COLUMNS = [field.alias or name for name, field in Rented.model_fields.items()]


class One(Answer):
    instances: Rented | None


class Page(Answer):
    instances: list[Rented]
    next_token: str | None = None


class Launched(Answer):
    success: bool
    id: int = Field(alias="new_contract")


class Volume(Answer):
    id: int
    size: float | None = Field(default=None, alias="disk_space")
    price: float | None = Field(default=None, alias="storage_total_cost", ge=0)
    place: str | None = Field(default=None, alias="geolocation")
    label: str | None = None


class Volumes(Answer):
    volumes: list[Volume]
