"""Shadeform, simulated: a broker's stock of several clouds, instances that are ended by date, keys and volumes.

It documents no errors; the bodies of refusals are made up here, and only their status is to be relied on.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import datetime
from typing import Any, ClassVar

import asyncssh

from .boot import Boot, start_script
from .http import Reply, Request, route
from .shadeform_words import (
    CREATE,
    KEY,
    NEVER,
    STATUS,
    TYPES,
    UPDATE,
    bad_date,
    configuration,
    error,
    iso,
    to_type,
)
from .shapes import Shape, problem
from .simulator import Cloud, Machine

OTHERS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILoDu8PPpLEQbGFqC7ocTA0IRB9MOpOPhxaXXK+yBh5l other"


class ShadeformCloud(Cloud):
    name: ClassVar[str] = "shadeform"
    document: ClassVar[str] = "shadeform.yaml"
    document_prefix: ClassVar[str] = "/v1"
    documents_errors: ClassVar[bool] = False
    base_path: ClassVar[str] = "/v1"
    user: ClassVar[str] = "shadeform"

    @classmethod
    def auth_headers(cls) -> dict[str, str]:
        return {"X-API-KEY": cls.key}

    def populate(self) -> None:
        # The launch script runs when the machine is up, and its SSH server has had the image's key until then.
        self.knobs.image_key_first = 0.3
        self.keys: dict[str, dict[str, Any]] = {}
        self._add_key("somebody", OTHERS_KEY)
        self._add_key("gpusess-0ther1ap-1", OTHERS_KEY)
        self.volumes = {"v1": ("hyperstack", "canada-1", "datasets", 100)}
        where: dict[str, Any] = {"type": "A6000", "region": "canada-1", "price": 0.5, "foreign": True}
        self.create(name="somebody's", cloud="hyperstack", **where)
        self.create(name="gpusess-0ther1ap-1", tags={"gpusess=0ther1ap": ""}, cloud="hyperstack", **where)

    def resources_of_others(self) -> Any:
        return [[k for k in self.keys.values() if k["public_key"] == OTHERS_KEY], self.volumes]

    def more_control(self, do: str, args: dict[str, Any]) -> Any:
        if do == "keys":
            return [k["name"] for k in self.keys.values() if k["public_key"] != OTHERS_KEY]
        return super().more_control(do, args)

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def refused_key(self, request: Request) -> Reply | None:
        if request.headers.get("x-api-key") == self.key:
            return None
        return error(401, "UNAUTHORIZED", "The API key is missing or wrong.")

    def not_found(self, request: Request) -> Reply:
        return error(404, "NOT_FOUND", "There is no such thing.")

    def too_many(self, request: Request) -> Reply:
        return error(429, "TOO_MANY_REQUESTS", "Slow down.")

    def server_error(self, request: Request) -> Reply:
        return error(500, "INTERNAL_ERROR", "Something went wrong.")

    def phase(self, machine: Machine) -> str:
        """Ended by date, when the time has come, without anybody's call."""
        threshold = machine.facts.get("auto_delete", {}).get("date_threshold")
        if threshold and machine.ending is None:
            end = datetime.fromisoformat(threshold).timestamp()
            if self.clock.now() >= end:
                machine.ending = end
                if self.hosts:
                    self.hosts.stop(machine.id)
        return super().phase(machine)

    # --- what there is ---

    @route("GET", "/v1/instances/types", "offers")
    def types(self, request: Request) -> Reply:
        return Reply(200, {"instance_types": [to_type(*key, row) for key, row in TYPES.items()]})

    @route("GET", "/v1/volumes", "volumes")
    def list_volumes(self, request: Request) -> Reply:
        rows = [
            {
                "id": id, "cloud": cloud, "region": where, "name": name, "size_in_gb": size,
                "cloud_assigned_id": f"c-{id}", "fixed_size": True, "cost_estimate": "1.2",
                "supports_multi_mount": False, "mounted_by": "",
            }
            for id, (cloud, where, name, size) in self.volumes.items()
        ]  # fmt: skip
        return Reply(200, {"volumes": rows})

    @route("GET", "/v1/volumes/types", "volume_types")
    def volume_types(self, request: Request) -> Reply:
        row = {
            "cloud": "hyperstack", "region": "canada-1", "supports_multi_mount": False, "fixed_size": True,
            "price_per_gb_per_hour": "0.0001",
        }  # fmt: skip
        return Reply(200, {"volume_types": [row]})

    # --- SSH keys ---

    @route("GET", "/v1/sshkeys", "keys")
    def ssh_keys(self, request: Request) -> Reply:
        return Reply(200, {"ssh_keys": [*self.keys.values()]})

    @route("POST", "/v1/sshkeys/add", "key_add")
    def add_ssh_key(self, request: Request) -> Reply:
        body, wrong = self._body(request, KEY)
        if wrong:
            return wrong
        try:
            asyncssh.import_public_key(body["public_key"])
        except (asyncssh.KeyImportError, ValueError):
            return error(400, "BAD_REQUEST", "The public key is not one.")
        return Reply(200, {"id": self._add_key(body["name"], body["public_key"])})

    @route("POST", "/v1/sshkeys/{id}/delete", "key_delete")
    def delete_ssh_key(self, request: Request) -> Reply:
        if self.keys.pop(request.params["id"], None) is None:
            return self.not_found(request)
        return Reply(200)

    # --- instances ---

    @route("GET", "/v1/instances", "list")
    def instances(self, request: Request) -> Reply:
        shown = [m for m in self.listed() if self.phase(m) != "ended"]
        return Reply(200, {"instances": [self._instance(m) for m in shown]})

    @route("GET", "/v1/instances/{id}/info", "get")
    def info(self, request: Request) -> Reply:
        machine = self.find(request.params["id"])
        if machine is None:
            return self.not_found(request)
        more = {k: machine.facts[k] for k in ("auto_delete", "ssh_key_id") if machine.facts.get(k)}
        return Reply(200, self._instance(machine) | more)

    @route("POST", "/v1/instances/create", "launch")
    def launch(self, request: Request) -> Reply:
        body, wrong = self._body(request, CREATE)
        if wrong:
            return wrong
        row = TYPES.get((body["cloud"], body["shade_instance_type"]))
        if row is None or body["region"] not in row[8]:
            return error(400, "BAD_REQUEST", "No such cloud, region or type.")
        key = self.keys.get(body.get("ssh_key_id", ""))
        if body.get("ssh_key_id") and key is None:
            return error(400, "BAD_REQUEST", "No such SSH key.")
        if (limit := bad_date(body.get("auto_delete", {}))) is not None:
            return error(400, "BAD_REQUEST", limit)
        if self.knobs.no_capacity or not row[8][body["region"]]:
            return error(409, "OUT_OF_STOCK", "This instance type is out of stock.")
        boot = self._boot(body.get("launch_configuration", {}))
        boot.authorized += [key["public_key"]] if key else []
        machine = self.create(
            name=body["name"],
            type=body["shade_instance_type"],
            region=body["region"],
            price=row[0] / 100,
            tags=dict.fromkeys(body.get("tags", []), ""),
            boot=boot,
            cloud=body["cloud"],
            auto_delete=body.get("auto_delete", {}),
            ssh_key_id=body.get("ssh_key_id", ""),
            os=body.get("os", ""),
        )
        return Reply(200, {"id": machine.id})

    @route("POST", "/v1/instances/{id}/delete", "terminate")
    def delete(self, request: Request) -> Reply:
        machine = self.find(request.params["id"])
        if machine is None:
            return self.not_found(request)
        self.end(machine)
        return Reply(200)

    @route("POST", "/v1/instances/{id}/restart", "restart")
    def restart(self, request: Request) -> Reply:
        machine = self.find(request.params["id"])
        return Reply(200) if machine else self.not_found(request)

    @route("POST", "/v1/instances/{id}/update", "update")
    def update(self, request: Request) -> Reply:
        body, wrong = self._body(request, UPDATE)
        if wrong:
            return wrong
        machine = self.find(request.params["id"])
        if machine is None:
            return self.not_found(request)
        if (limit := bad_date(body.get("auto_delete", {}))) is not None:
            return error(400, "BAD_REQUEST", limit)
        machine.name = body.get("name", machine.name)
        machine.facts["auto_delete"] = machine.facts.get("auto_delete", {}) | body.get("auto_delete", {})
        if "tags" in body:
            machine.tags = dict.fromkeys(body["tags"], "")
        return Reply(200)

    # --- parts ---

    def _body(self, request: Request, shape: Shape) -> tuple[dict[str, Any], Reply | None]:
        try:
            body = request.json
        except ValueError:
            return {}, error(400, "BAD_REQUEST", "The body is not JSON.")
        wrong = problem(shape, body)
        return (body if isinstance(body, dict) else {}), error(400, "BAD_REQUEST", wrong) if wrong else None

    def _boot(self, configuration: dict[str, Any]) -> Boot:
        """The launch script's outcome; one that fails leaves the machine as its image was."""
        encoded = configuration.get("script_configuration", {}).get("base64_script", "")
        if self.hosts is None or not encoded:
            return Boot()
        try:
            script = base64.b64decode(encoded, validate=True).decode()
            return start_script(script, self.folder / "boots" / str(len(self.machines)))
        except (binascii.Error, UnicodeDecodeError, ValueError) as exc:
            return Boot(said=str(exc))

    def _add_key(self, name: str, public_key: str) -> str:
        id = str(uuid.uuid4())
        self.keys[id] = {"id": id, "name": name, "public_key": public_key, "is_default": False}
        return id

    def _instance(self, machine: Machine) -> dict[str, Any]:
        phase = self.phase(machine)
        row = TYPES[machine.facts["cloud"], machine.type]
        running = phase in ("running", "failed")
        ended = machine.ending is not None and phase == "ended"
        return {
            "id": machine.id,
            "cloud": machine.facts["cloud"],
            "region": machine.region,
            "shade_instance_type": machine.type,
            "cloud_instance_type": f"{machine.type}-native",
            "cloud_assigned_id": f"native-{machine.id[:8]}",
            "shade_cloud": True,
            "name": machine.name,
            "configuration": {**configuration(row), "os": machine.facts.get("os") or "ubuntu22.04_cuda12.2"},
            "ip": machine.host if running else "",
            "ssh_user": self.user,
            "ssh_port": machine.port if running else 22,
            "status": STATUS.get(phase, "error"),
            "status_details": "",
            "cost_estimate": "0.1",
            "hourly_price": row[0],
            "tags": [*machine.tags],
            "created_at": iso(machine.created),
            "deleted_at": iso(machine.ending) if ended and machine.ending else NEVER,
        }
