"""Lambda Cloud (API 1.10): offers, launch, list, get, terminate, restart, and what else its account holds.

The account key is the only kind of key that there is, and nothing but the API's terminate ends the bill.
Its JSON is `lambda_wire.py`.
"""

from __future__ import annotations

import json
import logging
import shlex
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

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
from gpusess.providers.lambda_wire import (
    CONSOLE,
    KEY,
    FileSystem,
    Image,
    Key,
    Named,
    NotThere,
    Ruleset,
    Stock,
    WireInstance,
    data,
    to_instance,
    to_offers,
    translate,
)
from gpusess.providers.options import checked_options
from gpusess.providers.pacing import Pace
from gpusess.providers.user_data import cloud_config

log = logging.getLogger("provider")

URL = "https://cloud.lambda.ai"
CALL_SECONDS = 1.0
LAUNCH_SECONDS = 12.0
"""Lambda's limits: one call a second, and one launch in twelve."""
OURS = "gpusess-"
"""What the names of everything begin with that gpusess makes."""

M = TypeVar("M", bound=BaseModel)


class Options(BaseModel):
    """`resources.options` of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_family: str = ""
    """Empty: Lambda's own newest image."""
    file_systems: list[str] = Field(default_factory=list)
    """Names; they must be in the instance's region."""
    firewall_rulesets: list[str] = Field(default_factory=list)
    """Names; without one the account's global rules hold (by default SSH and ping only)."""


class LambdaProvider:
    """The account of `LAMBDA_API_KEY`. Options: see `Options`."""

    name = "lambda"
    abilities = Abilities(
        host_key=HostKey.INJECTED,
        lease_end=LeaseEnd.NOTHING,
        user_data=True,
        settle_seconds=120.0,
        poll_seconds=5.0,
    )

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self._options = checked_options(self.name, Options, options)
        self._key = secret(KEY, provider=self.name, where=CONSOLE)
        self.account = fingerprint(self._key)
        self._pace = Pace(f"lambda-{self.account}", CALL_SECONDS)
        self._launches = Pace(f"lambda-{self.account}-launch", LAUNCH_SECONDS)
        bearer = SecretStr(f"Bearer {self._key.get_secret_value()}")
        self._url = base_url(self.name, URL) + "/api/v1"
        self._api = Api(self.name, self._url, {"Authorization": bearer}, translate, self._pace)

    async def close(self) -> None:
        await self._api.close()

    # --- what there is ---

    async def offers(self) -> list[Offer]:
        stock = data(await self._api.read("/instance-types"))
        if not isinstance(stock, dict):
            raise ProviderFault("lambda answered with no table of instance types", "update gpusess")
        return [offer for row in stock.values() for offer in to_offers(checked(self.name, Stock, row))]

    async def regions(self) -> list[str]:
        return [r.name for r in await self._all("/regions", Named)]

    async def images(self) -> list[Image]:
        return await self._all("/images", Image)

    async def file_systems(self) -> list[FileSystem]:
        return await self._all("/file-systems", FileSystem)

    async def firewall_rulesets(self) -> list[Ruleset]:
        return await self._all("/firewall-rulesets", Ruleset)

    async def leftovers(self) -> list[Leftover]:
        """File systems: they are billed by what is in them, whether an instance uses them or not."""
        return [
            Leftover(
                "file system", fs.id, fs.name, fs.region.name, fs.bytes_used / 2**30, None,
                fs.name.startswith(OURS),
            )
            for fs in await self.file_systems()
        ]  # fmt: skip

    async def get(self, instance_id: str) -> Instance | None:
        try:
            answer = await self._api.read(f"/instances/{instance_id}")
        except NotThere:
            return None
        return to_instance(checked(self.name, WireInstance, data(answer)))

    async def _all(self, path: str, model: type[M]) -> list[M]:
        rows = data(await self._api.read(path))
        if not isinstance(rows, list):
            raise ProviderFault(f"lambda answered {path} with no list", "update gpusess")
        return [checked(self.name, model, row) for row in rows]

    # --- what costs money, and what ends it ---

    async def launch(self, request: LaunchRequest) -> Instance:
        """One instance. Its SSH key is the account's under the launch's own name, and goes with it."""
        rulesets = await self._ruleset_ids(request.offer.region)
        await self._api.write(
            "POST", "/ssh-keys", {"name": request.name, "public_key": request.client_public_key}
        )
        await self._pace.turn()
        try:
            answer = await self._api.write(
                "POST", "/instance-operations/launch", self._order(request, rulesets), pace=self._launches
            )
        except (NoCapacity, QuotaExceeded, AuthRefused, BadRequest):
            await self._forget_keys([request.name])
            raise
        ids = data(answer).get("instance_ids") if isinstance(data(answer), dict) else None
        if not isinstance(ids, list) or len(ids) != 1:
            raise ProviderFault(
                "lambda did not say which instance it launched", "`gpusess status` shows what was found"
            )
        return launched(str(ids[0]), request)

    async def terminate(self, instance_id: str) -> None:
        """Ask for the end; unknown and ended instances are fine. Keys of ours go with their instance."""
        try:
            answer = await self._api.write(
                "POST", "/instance-operations/terminate", {"instance_ids": [instance_id]}
            )
        except NotThere:
            return
        told = data(answer)
        rows = told.get("terminated_instances") if isinstance(told, dict) else None
        for row in rows or []:
            ended = checked(self.name, WireInstance, row)
            if ended.id == instance_id:
                await self._forget_keys([name for name in ended.ssh_key_names if name == ended.name])

    async def restart(self, instance_id: str) -> None:
        """Ask for a restart: it bills on, and what is on its disk stays."""
        await self._api.write("POST", "/instance-operations/restart", {"instance_ids": [instance_id]})

    def end_command(self, instance: Instance) -> EndCommand:
        """Only the account's key can end an instance; it goes to curl by its stdin."""
        header = f'printf \'header = "Authorization: Bearer %s"\' "${KEY}"'
        body = json.dumps({"instance_ids": [instance.id]})
        call = f"curl -sS --fail -K - -X POST -H 'Content-Type: application/json' -d {shlex.quote(body)}"
        return EndCommand(
            f"{header} | {call} {shlex.quote(self._url + '/instance-operations/terminate')}", {KEY: self._key}
        )

    def _order(self, request: LaunchRequest, rulesets: list[str]) -> dict[str, Any]:
        order: dict[str, Any] = {
            "region_name": request.offer.region,
            "instance_type_name": request.offer.name,
            "ssh_key_names": [request.name],
            "name": request.name,
            "tags": [{"key": k, "value": v} for k, v in request.tags.items()],
            "user_data": cloud_config(request),
        }
        if self._options.image_family:
            order["image"] = {"family": self._options.image_family}
        if self._options.file_systems:
            order["file_system_names"] = self._options.file_systems
        if rulesets:
            order["firewall_rulesets"] = [{"id": id} for id in rulesets]
        return order

    async def _ruleset_ids(self, region: str) -> list[str]:
        if not self._options.firewall_rulesets:
            return []
        known = {r.name: r.id for r in await self.firewall_rulesets() if r.region.name == region}
        missing = [name for name in self._options.firewall_rulesets if name not in known]
        if missing:
            raise BadRequest(
                f"lambda has no firewall ruleset {', '.join(missing)} in {region}",
                f"known there: {', '.join(sorted(known)) or 'none'}",
            )
        return [known[name] for name in self._options.firewall_rulesets]

    async def _forget_keys(self, names: list[str]) -> None:
        """Remove the account's SSH keys of those names, if they are gpusess' own. A failure is only noted:
        they cost nothing."""
        ours = {name for name in names if name.startswith(OURS)}
        if not ours:
            return
        try:
            for key in await self._all("/ssh-keys", Key):
                if key.name in ours:
                    await self._api.write("DELETE", f"/ssh-keys/{key.id}")
        except ProviderError as exc:
            log.warning("the SSH key %s stays in the account: %s", ", ".join(sorted(ours)), exc.message)

    async def list(self) -> list[Instance]:
        return [to_instance(row) for row in await self._all("/instances", WireInstance)]
