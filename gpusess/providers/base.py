"""What every provider is: offers, launch, list, get, terminate. Nothing of a particular cloud lives here.

A provider is a thin client: it keeps no state of ours, never prints, never retries a launch by itself and
knows neither SSH nor the store. It raises the `ProviderError` family of `gpusess.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pydantic import SecretStr


class InstanceStatus(StrEnum):
    """The provider's own word on an instance, in our words."""

    BOOTING = "booting"
    RUNNING = "running"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    STOPPED = "stopped"
    """Asleep: no GPU is billed, its disk often is."""
    PREEMPTED = "preempted"
    """A spot instance that was taken away. What remains of it may go on billing."""
    FAILED = "failed"
    """The provider says that it is broken. It may go on billing."""


class HostKey(StrEnum):
    """How the key is known that an instance's SSH server must answer with."""

    INJECTED = "injected"
    """Minted for this launch and put into the instance by the launch call."""
    LOGGED = "logged"
    """Its fingerprints are read from the provider's own log over TLS: see `PrintsHostKey`."""
    OWN = "own"
    """The user's known_hosts: see `OwnMachines`."""
    FIRST_USE = "first use"
    """Unknown until the first connection: taken only where the spec allows it, and shown as such."""


class LeaseEnd(StrEnum):
    """What ends an instance that nobody has spoken to and that runs nothing, when we are not there."""

    PROVIDER = "provider"
    """The provider itself, at a time that the launch call names."""
    SHUTDOWN = "shutdown"
    """The instance: its operating system's shutdown is its end."""
    INSTANCE_KEY = "instance key"
    """The instance: it has a key that can end it and nothing else."""
    NOTHING = "nothing"
    """Only the account's key can: `gpusess reap` on a host that is always on, or that key on the instance."""


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
    gpu_memory_gib: float = 0.0
    """VRAM of one GPU."""
    spot: bool = False
    """Cheaper, and may be taken away at any time."""
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
    type: str = ""
    """The offer's name."""
    region: str = ""
    created: float | None = None
    """Seconds since the epoch, where the provider says so."""


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
    deadline: float | None = None
    """Seconds since the epoch after which it must not live whatever happens; None: no limit. Providers that
    can end an instance by themselves are told so."""
    options: dict[str, Any] = field(default_factory=dict)
    """The provider's own settings from the spec (`resources.options`)."""
    host_public_key: str = ""
    """The OpenSSH line to `host_private_key`."""


def launched(instance_id: str, request: LaunchRequest) -> Instance:
    """A launch's answer where the provider says no more than the new instance's id."""
    return Instance(
        instance_id,
        request.name,
        InstanceStatus.BOOTING,
        None,
        request.offer.price,
        dict(request.tags),
        type=request.offer.name,
        region=request.offer.region,
    )


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a provider can do; the rest of the program asks this instead of knowing names."""

    rents: bool = True
    """False: the machine is the user's own; launch and terminate only open and close a session on it."""
    host_key: HostKey = HostKey.INJECTED
    lease_end: LeaseEnd = LeaseEnd.NOTHING
    tags: bool = True
    """Carries the launch request's tags and gives them back in `list`."""
    user_data: bool = False
    """Runs a start script of ours."""
    spot: bool = False
    stops: bool = False
    """An instance can be stopped and started again: see `Stops`."""
    settle_seconds: float = 0.0
    """How long a launched instance may stay missing from the list; absence proves nothing before."""
    poll_seconds: float = 0.3
    """How often its API may be asked while something is waited for."""
    metadata_notice: bool = False
    """A spot instance can read in EC2's kind of instance metadata that it will be taken away."""
    refusals_create: bool = False
    """A launch that was refused may have left an instance all the same: it is looked for then too."""


class Provider(Protocol):
    """A cloud API that rents instances."""

    name: str
    abilities: Abilities
    account: str
    """A fingerprint of the account's key, empty where there is none: what another account does not list
    proves nothing. Never the key itself."""

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

    async def close(self) -> None:
        """Let go of connections. The provider is not used after that."""
        ...


@runtime_checkable
class Stops(Protocol):
    """What a provider adds that can put an instance to sleep."""

    async def stop(self, instance_id: str) -> None: ...

    async def start(self, instance_id: str) -> None: ...


@runtime_checkable
class PrintsHostKey(Protocol):
    """What a provider adds whose log shows the host key of an instance (`HostKey.LOGGED`)."""

    async def host_fingerprints(self, instance: Instance) -> list[str]:
        """`SHA256:…` fingerprints from the provider's log, read over TLS. Empty: not there yet."""
        ...


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something beside instances that goes on billing, such as a volume."""

    kind: str
    """`volume`, `file system`, …"""
    id: str
    name: str
    region: str
    size_gib: float
    price: float | None
    """US dollars an hour; None: the provider does not say."""
    ours: bool
    """It bears our tag or name."""


@runtime_checkable
class HasLeftovers(Protocol):
    """What a provider adds where other things than instances bill."""

    async def leftovers(self) -> list[Leftover]: ...


@dataclass(frozen=True, slots=True)
class EndCommand:
    """How an instance is ended from inside it: a shell command that may be run again until it is gone."""

    command: str
    """Holds no secret: what it needs comes from its environment."""
    secrets: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)
    """What its environment needs beyond the instance's own (that of process 1 included). Empty for
    `LeaseEnd.INSTANCE_KEY`; the account's key where only that can end an instance (`LeaseEnd.NOTHING`)."""


@runtime_checkable
class EndsItself(Protocol):
    """What a provider adds whose instances can be ended from inside by a call to its API.

    Where the command needs the account's key it is used only if the spec says `resources.lease_key: agent`.
    """

    def end_command(self, instance: Instance) -> EndCommand: ...


@runtime_checkable
class MovesDeadline(Protocol):
    """What a provider adds that can move an instance's server-side deadline (`LeaseEnd.PROVIDER`)."""

    async def move_deadline(self, instance_id: str, deadline: float) -> None:
        """deadline: seconds since the epoch after which the provider ends the instance."""
        ...


@runtime_checkable
class OwnMachines(Protocol):
    """What a provider adds whose machines are the user's own (`HostKey.OWN`)."""

    async def known_host_keys(self, instance: Instance) -> list[str]:
        """OpenSSH public keys that the machine may answer with, by the user's own known_hosts.

        Empty: nothing is known, and no one connects.
        """
        ...

    def client_keys(self, instance_id: str) -> tuple[Path, ...]:
        """Identity files to log in with; empty: the user's default keys and agent."""
        ...
