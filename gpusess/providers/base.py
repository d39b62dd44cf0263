"""What every provider is: offers, launch, list, get, terminate. Nothing of a particular cloud lives here.

A provider is a thin client: it keeps no state of ours, never prints, never retries a launch by itself and
knows neither SSH nor the store. It raises the `ProviderError` family of `gpusess.errors`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


class InstanceStatus(StrEnum):
    """The provider's own word on an instance, in our words."""

    BOOTING = "booting"
    RUNNING = "running"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"
    """The provider says that it is broken or was taken away. It may go on billing."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an instance's SSH server answers."""

    host: str
    port: int
    user: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An instance type in a region at a price. Price in US dollars an hour for the whole instance."""

    provider: str
    name: str
    """The provider's own name of the type."""
    region: str
    price: float
    gpu: str
    """GPU model; empty for a CPU instance."""
    gpus: int
    vcpus: int
    memory_gib: float
    available: bool
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """A rented machine as the provider lists it."""

    id: str
    name: str
    """The unique name that we gave it in the launch call: how a lost answer is found again."""
    status: InstanceStatus
    endpoint: Endpoint | None
    price: float
    """US dollars an hour."""
    tags: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    """Why it failed, where the provider says so."""


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """One launch. `name` is unique for ever; the private host key goes to this one instance only."""

    name: str
    offer: Offer
    client_public_key: str
    """OpenSSH line that may log in."""
    host_private_key: str = field(repr=False)
    """OpenSSH PEM that the instance's SSH server must answer with."""
    tags: dict[str, str]
    lease_seconds: float
    """How long the instance may live without a word from its user or a running run. 0: no limit."""
    options: dict[str, Any] = field(default_factory=dict)
    """The provider's own settings from the spec (`resources.options`)."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a provider can do; the rest of the program asks this instead of knowing names."""

    rents: bool = True
    """False: the machine is the user's own; launch and terminate only open and close a session on it."""
    injects_host_key: bool = True
    """The host key of the launch request is what the instance answers with. False: the user's known_hosts."""
    ends_itself: bool = False
    """The lease is kept without our help."""
    settle_seconds: float = 0.0
    """How long a launched instance may stay missing from the list; absence proves nothing before."""


class Provider(Protocol):
    """A cloud API that rents instances."""

    name: str
    abilities: Abilities

    async def offers(self) -> list[Offer]:
        """What can be rented now."""
        ...

    async def launch(self, request: LaunchRequest) -> Instance:
        """Rent one instance. Never called twice for one name without a look at `list` in between."""
        ...

    async def list(self) -> list[Instance]:
        """All instances that this account has, ours or not."""
        ...

    async def get(self, instance_id: str) -> Instance | None:
        """One instance, or None where the provider does not know it (any more)."""
        ...

    async def terminate(self, instance_id: str) -> None:
        """Ask for the end of an instance. Done only when `get` says terminated or None."""
        ...


@runtime_checkable
class OwnMachines(Protocol):
    """What a provider adds whose machines are the user's own (`injects_host_key` is false)."""

    async def known_host_keys(self, instance: Instance) -> list[str]:
        """OpenSSH public keys that the machine may answer with, by the user's own known_hosts.

        Empty: nothing is known, and no one connects.
        """
        ...

    def client_keys(self, instance_id: str) -> tuple[Path, ...]:
        """Identity files to log in with; empty: the user's default keys and agent."""
        ...
