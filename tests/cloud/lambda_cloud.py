"""Lambda Cloud, simulated: API 1.10 with its keys, stock, instances, file systems and firewall rulesets.

An instance's address is said without a port, as Lambda does: SSH is on port 22 of a loopback address.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from typing import Any, ClassVar

import asyncssh

from .boot import Boot, cloud_init
from .http import Reply, Request, route
from .lambda_words import (
    IDS,
    LAUNCH,
    REGIONS,
    RULE,
    STATUS,
    TYPES,
    actions,
    bad,
    error,
    instance_type,
    missing,
    region,
)
from .shapes import Shape, many, problem, table, text
from .simulator import Cloud, Machine

V1 = "/api/v1"
OTHERS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILoDu8PPpLEQbGFqC7ocTA0IRB9MOpOPhxaXXK+yBh5l other"


class LambdaCloud(Cloud):
    name: ClassVar[str] = "lambda"
    document: ClassVar[str] = "lambda-1.10.0.json"
    port_22: ClassVar[bool] = True
    user: ClassVar[str] = "ubuntu"

    def populate(self) -> None:
        self.capacity = {name: [*row[7]] for name, row in TYPES.items()}
        self.keys: dict[str, dict[str, str]] = {}
        self._add_key("somebody", OTHERS_KEY)
        self._add_key("gpusess-0ther1ap-1", OTHERS_KEY)
        self.systems = {"fs1": self._system("shared-data", "us-west-1")}
        rule = {
            "protocol": "tcp",
            "port_range": [22, 22],
            "source_network": "0.0.0.0/0",
            "description": "ssh",
        }
        self.rules: list[dict[str, Any]] = [rule]
        self.rulesets = {"rs1": {"name": "open", "region": region("us-west-1"), "rules": [rule]}}
        where: dict[str, Any] = {"type": "gpu_1x_a10", "region": "us-west-1", "price": 0.75, "foreign": True}
        self.create(name="somebody's", keys=["somebody"], systems=["shared-data"], **where)
        self.create(
            name="gpusess-0ther1ap-1", tags={"gpusess": "0ther1ap"}, keys=["gpusess-0ther1ap-1"], **where
        )

    def resources_of_others(self) -> Any:
        mine = [k for k in self.keys.values() if k["public_key"] != OTHERS_KEY]
        return [[k for k in self.keys.values() if k not in mine], self.systems, self.rulesets, self.rules]

    def more_control(self, do: str, args: dict[str, Any]) -> Any:
        if do == "keys":
            return [k["name"] for k in self.keys.values() if k["public_key"] != OTHERS_KEY]
        return super().more_control(do, args)

    def refused_key(self, request: Request) -> Reply | None:
        given = request.headers.get("authorization", "")
        basic = base64.b64encode(f"{self.key}:".encode()).decode()
        if given in (f"Bearer {self.key}", f"Basic {basic}"):
            return None
        message = "API key was invalid, expired, or deleted." if given else "No API key was provided."
        return error(401, "global/invalid-api-key", message, "Check your API key or create a new one.")

    def not_found(self, request: Request) -> Reply:
        return error(404, "global/not-found", "The requested resource was not found.")

    def too_many(self, request: Request) -> Reply:
        return Reply(429, {"error": {"code": "global/rate-limited", "message": "Too many requests."}})

    def server_error(self, request: Request) -> Reply:
        return error(500, "global/internal-error", "An internal server error occurred.", "Try again later.")

    # --- what there is ---

    @route("GET", f"{V1}/instance-types", "offers")
    def instance_types(self, request: Request) -> Reply:
        rows = {
            name: {
                "instance_type": instance_type(name),
                "regions_with_capacity_available": [region(r) for r in where],
            }
            for name, where in self.capacity.items()
        }
        return Reply(200, {"data": rows})

    @route("GET", f"{V1}/regions", "regions")
    def regions(self, request: Request) -> Reply:
        return Reply(200, {"data": [region(r) for r in REGIONS]})

    @route("GET", f"{V1}/images", "images")
    def images(self, request: Request) -> Reply:
        when = "2026-01-01T00:00:00Z"
        rows = [
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{r}-{arch}")),
                "created_time": when,
                "updated_time": when,
                "name": "lambda-stack",
                "description": "Lambda Stack",
                "family": "lambda-stack-24-04",
                "version": "24.4.1",
                "architecture": arch,
                "region": region(r),
            }
            for r in REGIONS
            for arch in ("x86_64", "arm64")
        ]
        return Reply(200, {"data": rows})

    @route("GET", f"{V1}/file-systems", "file_systems")
    def file_systems(self, request: Request) -> Reply:
        return Reply(200, {"data": [{"id": id, **fs} for id, fs in self.systems.items()]})

    @route("GET", f"{V1}/firewall-rules", "rules")
    def firewall_rules(self, request: Request) -> Reply:
        return Reply(200, {"data": self.rules})

    @route("PUT", f"{V1}/firewall-rules", "rules_set")
    def set_firewall_rules(self, request: Request) -> Reply:
        body, wrong = self._body(request, table("data", data=many(RULE)))
        if wrong:
            return wrong
        self.rules = body["data"]
        return Reply(200, {"data": self.rules})

    @route("GET", f"{V1}/firewall-rulesets", "rulesets")
    def firewall_rulesets(self, request: Request) -> Reply:
        return Reply(200, {"data": [self._ruleset(id) for id in self.rulesets]})

    @route("POST", f"{V1}/firewall-rulesets", "ruleset_add")
    def add_firewall_ruleset(self, request: Request) -> Reply:
        shape = table("name region rules", name=text(most=64), region=text(), rules=many(RULE))
        body, wrong = self._body(request, shape)
        if wrong:
            return wrong
        if body["region"] not in REGIONS or body["region"] == "us-south-1":
            return bad("rulesets cannot be in that region")
        id = secrets.token_hex(16)
        self.rulesets[id] = {**body, "region": region(body["region"])}
        return Reply(200, {"data": self._ruleset(id)})

    # --- SSH keys ---

    @route("GET", f"{V1}/ssh-keys", "keys")
    def ssh_keys(self, request: Request) -> Reply:
        return Reply(200, {"data": [*self.keys.values()]})

    @route("POST", f"{V1}/ssh-keys", "key_add")
    def add_ssh_key(self, request: Request) -> Reply:
        body, wrong = self._body(
            request, table("name", name=text(least=1, most=64), public_key=text(least=1, most=4096))
        )
        if wrong:
            return wrong
        if "public_key" not in body:
            made = asyncssh.generate_private_key("ssh-ed25519")
            public = made.export_public_key().decode().strip()
            private = {"private_key": made.export_private_key().decode()}
            return Reply(200, {"data": {**self._add_key(body["name"], public), **private}})
        try:
            asyncssh.import_public_key(body["public_key"])
        except (asyncssh.KeyImportError, ValueError):
            return bad("Invalid public key.")
        return Reply(200, {"data": self._add_key(body["name"], body["public_key"])})

    @route("DELETE", f"{V1}/ssh-keys/{{id}}", "key_delete")
    def delete_ssh_key(self, request: Request) -> Reply:
        if self.keys.pop(request.params["id"], None) is None:
            return error(404, "global/not-found", "Specified SSH key does not exist.")
        return Reply(200, {"data": {}})

    # --- instances ---

    @route("GET", f"{V1}/instances", "list")
    def instances(self, request: Request) -> Reply:
        return Reply(200, {"data": [self._instance(m) for m in self.listed()]})

    @route("GET", f"{V1}/instances/{{id}}", "get")
    def instance(self, request: Request) -> Reply:
        machine = self.find(request.params["id"])
        return Reply(200, {"data": self._instance(machine)}) if machine else missing("instance")

    @route("POST", f"{V1}/instances/{{id}}", "rename")
    def rename(self, request: Request) -> Reply:
        body, wrong = self._body(request, table(name=text(most=64)))
        if wrong:
            return wrong
        machine = self.find(request.params["id"])
        if machine is None:
            return missing("instance")
        machine.name = body.get("name", machine.name)
        return Reply(200, {"data": self._instance(machine)})

    @route("POST", f"{V1}/instance-operations/launch", "launch")
    def launch(self, request: Request) -> Reply:
        body, wrong = self._body(request, LAUNCH)
        if wrong:
            return wrong
        refused = self._refused(body)
        if refused:
            return refused
        keys = {k["name"]: k["public_key"] for k in self.keys.values()}
        boot = self._boot(body.get("user_data", ""))
        boot.authorized += [keys[name] for name in body["ssh_key_names"]]
        machine = self.create(
            name=body.get("name", ""),
            type=body["instance_type_name"],
            region=body["region_name"],
            price=TYPES[body["instance_type_name"]][2] / 100,
            tags={t["key"]: t["value"] for t in body.get("tags", [])},
            boot=boot,
            keys=body["ssh_key_names"],
            systems=body.get("file_system_names", []),
            hostname=body.get("hostname", ""),
            rulesets=body.get("firewall_rulesets", []),
        )
        return Reply(200, {"data": {"instance_ids": [machine.id]}})

    @route("POST", f"{V1}/instance-operations/terminate", "terminate")
    def terminate(self, request: Request) -> Reply:
        found = self._named(request)
        if isinstance(found, Reply):
            return found
        for machine in found:
            self.end(machine)
        return Reply(200, {"data": {"terminated_instances": [self._instance(m) for m in found]}})

    @route("POST", f"{V1}/instance-operations/restart", "restart")
    def restart(self, request: Request) -> Reply:
        found = self._named(request)
        if isinstance(found, Reply):
            return found
        if any(self.phase(m) != "running" for m in found):
            return error(409, "global/conflict", "The instance cannot be restarted in its present state.")
        return Reply(200, {"data": {"restarted_instances": [self._instance(m) for m in found]}})

    # --- parts ---

    def _body(self, request: Request, shape: Shape) -> tuple[dict[str, Any], Reply | None]:
        try:
            body = request.json
        except ValueError:
            return {}, bad("The body is not JSON.")
        wrong = problem(shape, body)
        return (body if isinstance(body, dict) else {}), bad(wrong) if wrong else None

    def _refused(self, order: dict[str, Any]) -> Reply | None:
        """What Lambda looks at after the shape of a launch is right."""
        kind, where = order["instance_type_name"], order["region_name"]
        if kind not in TYPES or where not in REGIONS:
            return missing("instance type or region")
        names = {k["name"] for k in self.keys.values()}
        if not set(order["ssh_key_names"]) <= names:
            return missing("SSH key")
        systems = {fs["name"]: fs["region"]["name"] for fs in self.systems.values()}
        for name in order.get("file_system_names", []):
            if name not in systems:
                return missing("filesystem")
            if systems[name] != where:
                code = "instance-operations/launch/file-system-in-wrong-region"
                return error(400, code, "The filesystem is in another region.")
        if any(r["id"] not in self.rulesets for r in order.get("firewall_rulesets", [])):
            return missing("firewall ruleset")
        family = order.get("image", {}).get("family", "lambda-stack-24-04")
        if family != "lambda-stack-24-04":
            return missing("image")
        if self.knobs.no_capacity or where not in self.capacity[kind]:
            code = "instance-operations/launch/insufficient-capacity"
            return error(400, code, "Not enough capacity to fulfill launch request.")
        return None

    def _boot(self, user_data: str) -> Boot:
        try:
            return cloud_init(user_data)
        except Exception:  # noqa: BLE001 (cloud-init, too, starts the machine whatever the text is)
            return Boot()

    def _named(self, request: Request) -> list[Machine] | Reply:
        """The instances that a terminate or restart names, or why not."""
        body, wrong = self._body(request, IDS)
        if wrong:
            return wrong
        found = [self.find(id) for id in body["instance_ids"]]
        known = [m for m in found if m]
        return known if len(known) == len(found) else missing("instance")

    def _add_key(self, name: str, public_key: str) -> dict[str, str]:
        id = secrets.token_hex(16)
        self.keys[id] = {"id": id, "name": name, "public_key": public_key}
        return self.keys[id]

    def _system(self, name: str, where: str) -> dict[str, Any]:
        return {
            "name": name,
            "mount_point": f"/lambda/nfs/{name}",
            "created": "2026-01-01T00:00:00Z",
            "created_by": {"id": "u1", "email": "somebody@example.org", "status": "active"},
            "is_in_use": True,
            "region": region(where),
            "bytes_used": 3 * 2**30,
        }

    def _ruleset(self, id: str) -> dict[str, Any]:
        return {"id": id, "created": "2026-01-01T00:00:00Z", "instance_ids": [], **self.rulesets[id]}

    def _instance(self, machine: Machine) -> dict[str, Any]:
        phase = self.phase(machine)
        told: dict[str, Any] = {
            "id": machine.id,
            "name": machine.name,
            "status": STATUS[phase],
            "ssh_key_names": machine.facts["keys"],
            "file_system_names": machine.facts.get("systems", []),
            "region": region(machine.region),
            "instance_type": instance_type(machine.type),
            "actions": actions(phase),
            "tags": [{"key": k, "value": v} for k, v in machine.tags.items()],
        }
        if phase in ("running", "failed"):
            told |= {
                "ip": machine.host,
                "private_ip": "10.19.1.2",
                "hostname": machine.facts.get("hostname") or machine.host.replace(".", "-"),
                "jupyter_token": "secret-jupyter-token",
                "jupyter_url": f"https://jupyter-{machine.id}.example.org/?token=secret-jupyter-token",
            }
        return told
