"""Shadeform, a broker: some twenty clouds behind one API, its offers, instances, keys and volumes.

It ends an instance by itself at a date that the launch names. Its JSON is `shadeform_wire.py`.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import math
import shlex
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    NoCapacity,
    ProviderError,
    ProviderFault,
    QuotaExceeded,
)
from gpusess.providers.base import (
    Abilities,
    EndCommand,
    HostKey,
    Instance,
    LaunchRequest,
    LeaseEnd,
    Leftover,
    Offer,
    launched,
)
from gpusess.providers.http import Api, base_url, checked, fingerprint, secret
from gpusess.providers.options import checked_options
from gpusess.providers.pacing import Pace
from gpusess.providers.shadeform_wire import (
    CONSOLE,
    KEY,
    Id,
    Key,
    NotThere,
    Type,
    Volume,
    VolumeType,
    WireInstance,
    dollars,
    to_instance,
    to_offer,
    translate,
)
from gpusess.providers.user_data import start_script

log = logging.getLogger("provider")

URL = "https://api.shadeform.ai/v1"
CALL_SECONDS = 0.5
"""No limit is documented: two calls a second, four at once, disturb nobody."""
OURS = "gpusess-"

M = TypeVar("M", bound=BaseModel)


class Options(BaseModel):
    """`resources.options` of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clouds: list[str] = Field(default_factory=list)
    """Only these clouds behind Shadeform, by its names for them; empty: all."""
    os: str = ""
    """One of the type's images; empty: Shadeform's choice."""
    linked_account: bool = False
    """Rent in the user's own account at that cloud, as linked at Shadeform; its bill comes from there."""
    spend_limit: float | None = Field(default=None, gt=0)
    """US dollars after which Shadeform ends the instance by itself."""


class ShadeformProvider:
    """The account of `SHADEFORM_API_KEY`."""

    name = "shadeform"
    abilities = Abilities(
        host_key=HostKey.INJECTED,
        lease_end=LeaseEnd.PROVIDER,
        user_data=True,
        settle_seconds=90.0,
        poll_seconds=5.0,
    )

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self._options = checked_options(self.name, Options, options)
        self._key = secret(KEY, provider=self.name, where=CONSOLE)
        self.account = fingerprint(self._key)
        self._url = base_url(self.name, URL)
        pace = Pace(f"shadeform-{self.account}", CALL_SECONDS, burst=4)
        self._api = Api(self.name, self._url, {"X-API-KEY": self._key}, translate, pace)

    async def close(self) -> None:
        await self._api.close()

    # --- what there is ---

    async def offers(self) -> list[Offer]:
        """Machines only: a container has no SSH server of its own that could be given our host key."""
        kinds = await self._rows("/instances/types", "instance_types", Type)
        wanted = self._options.clouds
        return [
            to_offer(kind, place)
            for kind in kinds
            if kind.deployment_type != "container" and (not wanted or kind.cloud in wanted)
            for place in kind.availability
        ]

    async def leftovers(self) -> list[Leftover]:
        """Volumes: they are billed whether an instance uses them or not."""
        volumes = await self._rows("/volumes", "volumes", Volume)
        kinds = await self._rows("/volumes/types", "volume_types", VolumeType) if volumes else []
        prices = {(k.cloud, k.region): dollars(k.price_per_gb_per_hour) for k in kinds}
        return [
            Leftover(
                "volume", v.id, v.name, f"{v.cloud}/{v.region}", v.size_in_gb,
                None if (rate := prices.get((v.cloud, v.region))) is None else rate * v.size_in_gb,
                v.name.startswith(OURS),
            )
            for v in volumes
        ]  # fmt: skip

    async def get(self, instance_id: str) -> Instance | None:
        try:
            answer = await self._api.read(f"/instances/{instance_id}/info")
        except NotThere:
            return None
        return to_instance(checked(self.name, WireInstance, answer))

    async def _rows(self, path: str, field: str, model: type[M]) -> list[M]:
        answer = await self._api.read(path)
        rows = answer.get(field) if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise ProviderFault(f"shadeform answered {path} with no {field}", "update gpusess")
        return [checked(self.name, model, row) for row in rows]

    # --- what costs money, and what ends it ---

    async def launch(self, request: LaunchRequest) -> Instance:
        """One instance. Its SSH key is the account's under the launch's own name, and goes with it."""
        added = await self._api.write(
            "POST", "/sshkeys/add", {"name": request.name, "public_key": request.client_public_key}
        )
        key = checked(self.name, Id, added).id
        try:
            answer = await self._api.write("POST", "/instances/create", self._order(request, key))
        except (NoCapacity, QuotaExceeded, AuthRefused, BadRequest):
            await self._forget_keys(request.name)
            raise
        return launched(checked(self.name, Id, answer).id, request)

    async def terminate(self, instance_id: str) -> None:
        """Ask for the end; unknown and ended instances are fine. Keys of ours go with their instance."""
        name = ""
        try:
            known = await self.get(instance_id)
            name = known.name if known else ""
        except ProviderError as exc:
            log.warning("ending %s without its name: %s", instance_id, exc.message)
        with contextlib.suppress(NotThere):
            await self._api.write("POST", f"/instances/{instance_id}/delete")
        await self._forget_keys(name)

    async def restart(self, instance_id: str) -> None:
        """Ask for a restart: it bills on, and what is on its disk stays."""
        await self._api.write("POST", f"/instances/{instance_id}/restart")

    async def move_deadline(self, instance_id: str, deadline: float) -> None:
        """Tell Shadeform another date at which it ends the instance."""
        await self._api.write(
            "POST", f"/instances/{instance_id}/update", {"auto_delete": self._auto_delete(deadline)}
        )

    def end_command(self, instance: Instance) -> EndCommand:
        """Only the account's key can end an instance; it goes to curl by its stdin."""
        header = f'printf \'header = "X-API-KEY: %s"\' "${KEY}"'
        url = shlex.quote(f"{self._url}/instances/{instance.id}/delete")
        return EndCommand(f"{header} | curl -sS --fail -K - -X POST {url}", {KEY: self._key})

    def _order(self, request: LaunchRequest, key_id: str) -> dict[str, Any]:
        rented = request.offer
        script = base64.b64encode(_script(request).encode()).decode()
        order: dict[str, Any] = {
            "cloud": rented.detail["cloud"],
            "region": rented.region,
            "shade_instance_type": rented.detail["shade_instance_type"],
            "shade_cloud": not self._options.linked_account,
            "name": request.name,
            "ssh_key_id": key_id,
            "tags": [f"{k}={v}" for k, v in request.tags.items()],
            "launch_configuration": {"type": "script", "script_configuration": {"base64_script": script}},
        }
        if limits := self._auto_delete(request.deadline):
            order["auto_delete"] = limits
        if self._options.os:
            order["os"] = self._options.os
        return order

    def _auto_delete(self, deadline: float | None) -> dict[str, str]:
        limits = {}
        if deadline is not None:
            limits["date_threshold"] = datetime.fromtimestamp(math.ceil(deadline), UTC).isoformat()
        if self._options.spend_limit is not None:
            limits["spend_threshold"] = f"{self._options.spend_limit:.2f}"
        return limits

    async def _forget_keys(self, name: str) -> None:
        """Remove the account's SSH keys of that name, if it is gpusess' own. A failure is only noted:
        they cost nothing."""
        if not name.startswith(OURS):
            return
        try:
            for key in await self._rows("/sshkeys", "ssh_keys", Key):
                if key.name == name:
                    await self._api.write("POST", f"/sshkeys/{key.id}/delete")
        except ProviderError as exc:
            log.warning("the SSH key %s stays in the account: %s", name, exc.message)

    async def list(self) -> list[Instance]:
        return [to_instance(row) for row in await self._rows("/instances", "instances", WireInstance)]


def _script(request: LaunchRequest) -> str:
    """Shadeform runs it once the machine is up, when the image's own host key has been answering already; who
    runs it is not documented, so it makes itself root."""
    body = start_script(request)
    restart = "systemctl restart ssh || systemctl restart sshd || service ssh restart"
    lines = [
        "#!/bin/sh",
        'if [ "$(id -u)" = 0 ]; then root=sh; else root="sudo -n sh"; fi',
        "$root <<'GPUSESS_SCRIPT'",
        body.rstrip(),
        restart,
        "GPUSESS_SCRIPT",
    ]
    return "\n".join(lines) + "\n"
