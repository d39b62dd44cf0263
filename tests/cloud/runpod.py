"""A simulated RunPod, REST API v2: pods that are containers with a mapped SSH port.

A pod's `args` and `env` are taken as its image would take them. Errors are RFC 9457 problems.
"""

from __future__ import annotations

import base64
import json
import shlex
from datetime import UTC, datetime
from typing import Any

from . import boot, shapes
from .http import Reply, Request, route
from .shapes import many, number, one_of, table, text
from .simulator import Cloud, Machine

PROBLEM = {"Content-Type": "application/problem+json"}
POLICY = '"minute";q=60;w=60,"hour";q=3000;w=3600,"day";q=50000;w=86400'
ACTIONS = {
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "ERROR": ["start", "terminate"],
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "TERMINATED": [],
}
STATUS = {
    "booting": "PROVISIONING",
    "running": "RUNNING",
    "stopped": "EXITED",
    "failed": "ERROR",
    "preempted": "EXITED",
    "ending": "TERMINATED",
    "ended": "TERMINATED",
}
PLACES = {"US-KS-2": "US Kansas 2", "EU-RO-1": "EU Romania 1"}
GPUS = {
    "NVIDIA GeForce RTX 4090": ("RTX 4090", 24, 0.69, 0.34, 8, {"US-KS-2": "HIGH", "EU-RO-1": "LOW"}),
    "NVIDIA H100 80GB HBM3": ("H100 SXM", 80, 2.99, 2.39, 8, {"US-KS-2": "MEDIUM", "EU-RO-1": "NONE"}),
    "NVIDIA B200": ("B200", 180, 7.99, 0.0, 8, {}),
}
CPUS = {"cpu3c": ("Compute-Optimized", 2.0, 0.03, 2, 32)}
_POD = {
    **table(
        "name",
        name=text(least=1), image=text(least=1), cloud=one_of("SECURE", "COMMUNITY"), entrypoint=many(text()), cmd=many(text()),
        gpu=table("id", id=text(), count=number(1, whole=True), minCudaVersion=text(r"^\d+\.\d+$"),
                  allowedCudaVersions=many(text(r"^\d+\.\d+$"))),
        cpu=table("id vcpuCount", id=text(least=1), vcpuCount=number(2, whole=True)),
        dataCenterIds=many(text()), disk=number(1, whole=True), ports=many(text()), args=text(),
        mounts=table(network=many(table("volumeId path", volumeId=text(), path=text()), most=1)),
        env={"type": "object", "additionalProperties": text()}, registry={"type": ["string", "null"]},
        startSsh={"type": "boolean"}, startJupyter={"type": "boolean"}, templateId=text(least=1),
        globalNetworking={"type": "boolean"},
    ),
    "additionalProperties": False,
    "anyOf": [{"required": ["image"]}, {"required": ["templateId"]}],
}  # fmt: skip


def problem(status: int, title: str, detail: str, errors: list[str] | None = None, **headers: str) -> Reply:
    body: dict[str, Any] = {"title": title, "status": status, "detail": detail}
    if errors:
        body["errors"] = errors
    return Reply(status, body, {**PROBLEM, **headers})


NEWER = ("'entrypoint'", "$.entrypoint:", "$.cmd:")
"""What other clients send of a newer document than ours: not counted as violations."""


class RunpodCloud(Cloud):
    """Every pod is in the account of `key`."""

    name = "runpod"
    document = "runpod-v2.json"
    key = "rpa_SIMULATED1234567890"
    user = "root"
    _id = ""

    def populate(self) -> None:
        self.volumes = [
            {
                "id": "vol8fj2k",
                "name": "training-data",
                "size": 100,
                "dataCenter": "EU-RO-1",
                "type": "STANDARD",
            }
        ]
        self.account_keys: list[str] = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFsomebodys laptop"]
        for name, tags in (("somebodys-pod", {}), ("gpusess-0ther1ap-1", {"gpusess": "0ther1ap"})):
            env = {"GPUSESS_TAGS": base64.b64encode(json.dumps(tags).encode()).decode()} if tags else {}
            self.create(
                name=name, type="NVIDIA GeForce RTX 4090", region="US-KS-2", price=0.69, tags=tags, foreign=True,
                gpu={"id": "NVIDIA GeForce RTX 4090", "count": 1}, env=env, image="runpod/base:1.0.2", disk=50,
            )  # fmt: skip

    def new_id(self) -> str:
        """A pod's id is known to its container before the pod is made."""
        given, self._id = self._id, ""
        return given or super().new_id()[:14]

    def bills(self, machine: Machine) -> bool:
        """A stopped pod's disk bills; a deleted pod is gone at once."""
        return machine.ending is None

    def refused_key(self, request: Request) -> Reply | None:
        given = request.headers.get("authorization", "")
        if not given.startswith("Bearer "):
            return problem(401, "Unauthorized", "missing bearer token")
        if given != f"Bearer {self.key}":
            pod = given.removeprefix("Bearer pod-key-")
            if pod not in self.machines:
                return problem(401, "Unauthorized", "invalid API key")
            if request.op not in ("terminate", "get") or request.params["id"] != pod:
                return problem(403, "Forbidden", "access denied")
        return None

    def not_found(self, request: Request) -> Reply:
        return problem(404, "Not Found", "resource not found")

    def too_many(self, request: Request) -> Reply:
        return problem(429, "Too Many Requests", "rate limit exceeded", **{
            "Retry-After": "1", "RateLimit": '"minute";r=0;t=1', "RateLimit-Policy": POLICY,
        })  # fmt: skip

    def server_error(self, request: Request) -> Reply:
        return problem(500, "Internal Server Error", "an unexpected error occurred")

    def resources_of_others(self) -> Any:
        return [self.volumes, self.account_keys]

    def _judge_call(self, request: Request, reply: Reply) -> None:
        before = len(self.violations)
        super()._judge_call(request, reply)
        new = [v for v in self.violations[before:] if not any(name in v for name in NEWER)]
        self.violations[before:] = new

    # --- account ---

    @route("GET", "/v2/account/ssh-keys", "ssh_keys")
    def ssh_keys(self, request: Request) -> Reply:
        return Reply(200, {"keys": self.account_keys})

    # --- catalog ---

    @route("GET", "/v2/catalog/gpus", "offers")
    def gpus(self, request: Request) -> Reply:
        with_stock, count, wrong = _stock_asked(request)
        if wrong:
            return wrong
        cloud = request.form.get("cloud", "SECURE")
        rows = []
        for id, (name, memory, secure, community, most, places) in GPUS.items():
            row: dict[str, Any] = {
                "id": id, "name": name, "pool": None, "manufacturer": "NVIDIA", "memory": memory,
                "secure": True, "community": community > 0,
                "price": {"secure": secure, "community": community},
                "maxCount": {"secure": most, "community": most if community else 0},
            }  # fmt: skip
            if with_stock:
                row |= self._stock(places if count <= most and (cloud == "SECURE" or community) else {})
            rows.append(row)
        return Reply(200, {"gpus": rows})

    @route("GET", "/v2/catalog/cpus", "cpu_offers")
    def cpus(self, request: Request) -> Reply:
        with_stock, _, wrong = _stock_asked(request)
        if wrong:
            return wrong
        rows = []
        for id, (name, memory, price, least, most) in CPUS.items():
            row: dict[str, Any] = {
                "id": id, "name": name, "group": "Gen 3", "vcpu": {"min": least, "max": most},
                "ramGbPerVcpu": memory, "price": {"securePerVcpu": price, "serverlessPerVcpu": price},
            }  # fmt: skip
            rows.append(row | (self._stock({"EU-RO-1": "HIGH"}) if with_stock else {}))
        return Reply(200, {"cpus": rows})

    def _stock(self, places: dict[str, str]) -> dict[str, Any]:
        if not places:
            return {"availability": "NONE"}
        best = max(places.values(), key=["NONE", "LOW", "MEDIUM", "HIGH"].index)
        where = [{"id": p, "name": PLACES[p], "availability": level} for p, level in places.items()]
        return {"availability": best, "dataCenters": where}

    # --- pods ---

    @route("GET", "/v2/pods", "list")
    def pods(self, request: Request) -> Reply:
        shown = [m for m in self.listed() if m.ending is None]
        return Reply(200, {"pods": [self._pod(m) for m in shown]}, {"RateLimit-Policy": POLICY})

    @route("GET", "/v2/pods/{id}", "get")
    def pod(self, request: Request) -> Reply:
        machine = self.find(request.params["id"])
        if machine is None or machine.ending is not None:
            return self.not_found(request)
        return Reply(200, self._pod(machine))

    @route("POST", "/v2/pods", "launch")
    def launch(self, request: Request) -> Reply:
        wrong = _problems(request)
        if wrong:
            return problem(422, "Unprocessable Entity", "Request validation failed.", wrong)
        body = request.json
        if ("gpu" in body) == ("cpu" in body):
            return problem(400, "Bad Request", "exactly one of gpu or cpu must be set")
        if self.knobs.no_capacity:
            return problem(400, "Bad Request", "There are no instances currently available")
        price, places = self._price(body)
        wanted = body.get("dataCenterIds") or list(places)
        free = [p for p in wanted if places.get(p, "NONE") != "NONE"]
        if not free:
            return problem(400, "Bad Request", "There are no instances currently available")
        id = self.new_id()
        started, why = self._boot(body, id)
        self._id = id
        machine = self.create(
            name=body["name"], type=(body.get("gpu") or body["cpu"])["id"], region=free[0], price=price,
            tags=_tags(body.get("env", {})), boot=started,
            **{k: v for k, v in body.items() if k not in ("name",)}, why=why,
        )  # fmt: skip
        if why:
            machine.forced = "stopped"
        return Reply(201, self._pod(machine))

    @route("DELETE", "/v2/pods/{id}", "terminate")
    def terminate(self, request: Request) -> Reply:
        machine = self.machines.get(request.params["id"])
        if machine is None or machine.ending is not None:
            return self.not_found(request)
        self.end(machine)
        return Reply(204)

    @route("POST", "/v2/pods/{id}/action", "action")
    def action(self, request: Request) -> Reply:
        try:
            action = request.json["action"]
        except (ValueError, TypeError, KeyError):
            return problem(422, "Unprocessable Entity", "Request validation failed.", ["action is required"])
        machine = self.find(request.params["id"])
        if machine is None or machine.ending is not None:
            return self.not_found(request)
        if action not in ("start", "stop", "restart", "terminate"):
            return problem(422, "Unprocessable Entity", "Request validation failed.", ["action: enum"])
        if action not in ACTIONS[STATUS[self.phase(machine)]]:
            return problem(409, "Conflict", f"cannot {action} a pod that is {STATUS[self.phase(machine)]}")
        if action == "terminate":
            self.end(machine)
            return Reply(204)
        machine.forced = "stopped" if action == "stop" else ""
        return Reply(200, self._pod(machine))

    @route("GET", "/v2/network-volumes", "volumes")
    def network_volumes(self, request: Request) -> Reply:
        return Reply(200, {"networkVolumes": self.volumes})

    def _price(self, body: dict[str, Any]) -> tuple[float, dict[str, str]]:
        """US dollars an hour, and the stock of each data centre."""
        if "cpu" in body:
            known = CPUS.get(body["cpu"]["id"])
            return (known[2] * body["cpu"]["vcpuCount"], {"EU-RO-1": "HIGH"}) if known else (0.0, {})
        known_gpu = GPUS.get(body["gpu"]["id"])
        if known_gpu is None:
            return 0.0, {}
        each = known_gpu[3 if body.get("cloud") == "COMMUNITY" else 2]
        return each * body["gpu"].get("count", 1), known_gpu[5]

    def _boot(self, body: dict[str, Any], id: str) -> tuple[boot.Boot, str]:
        """What the container does at its start, and why it stopped at once if it did."""
        words = shlex.split(body.get("args", ""))
        env = {**body.get("env", {}), "RUNPOD_API_KEY": f"pod-key-{id}", "RUNPOD_POD_ID": id}
        if words[:2] != ["bash", "-c"] or "22/tcp" not in body.get("ports", []):
            return boot.Boot(None, self.account_keys), ""  # the image's own start: a key that nobody knows
        text = words[2].replace("$GPUSESS_START", "'" + env.get("GPUSESS_START", "") + "'")
        if "base64 -d" not in text or "exec sh" not in text:
            return boot.Boot(None, []), "the container's command ended"
        script = base64.b64decode(env["GPUSESS_START"]).decode()
        try:
            return boot.start_script(script, self.folder / "containers" / id, env), ""
        except ValueError as exc:
            return boot.Boot(None, []), str(exc)

    def _pod(self, machine: Machine) -> dict[str, Any]:
        status = STATUS[self.phase(machine)]
        running = status == "RUNNING"
        facts = machine.facts
        direct = {"host": machine.host, "port": machine.port, "username": "root"}
        command = f"ssh root@{machine.host} -p {machine.port}"
        created = _time(machine.created)
        pod = {
            "id": machine.id, "name": machine.name, "status": status, "actions": ACTIONS[status],
            "image": facts.get("image", ""), "args": facts.get("args", ""), "disk": facts.get("disk", 20),
            "mounts": facts.get("mounts", {}), "ports": facts.get("ports", []), "env": facts.get("env", {}),
            "registry": None, "cloud": facts.get("cloud", "SECURE"), "dataCenterId": machine.region,
            "cudaVersion": "12.8", "template": None, "cost": machine.price if status not in ("EXITED", "TERMINATED") else 0.0,
            "locked": False, "globalNetworking": {"enabled": False}, "createdAt": created,
            "startedAt": created if running else None,
            "ssh": {"proxy": None, "direct": {**direct, "command": command} if running and machine.port else None},
            "runtime": {"uptime": 60, "ports": [{"private": 22, "public": machine.port, "type": "tcp", "ip": machine.host}]}
            if running else None,
        }  # fmt: skip
        if "gpu" in facts:
            pod["gpu"] = {"id": facts["gpu"]["id"], "count": facts["gpu"].get("count", 1)}
        if "cpu" in facts:
            pod["cpu"] = {**facts["cpu"], "memory": 2 * facts["cpu"]["vcpuCount"]}
        return pod


def _stock_asked(request: Request) -> tuple[bool, int, Reply | None]:
    """Whether stock is asked for, for how many GPUs, and the refusal where the query makes no sense."""
    query = request.form
    include, product = query.get("include", ""), query.get("product", "")
    if bool(include) != bool(product) or (not include and ("count" in query or "cloud" in query)):
        return False, 1, problem(400, "Bad Request", "product is required with include=AVAILABILITY")
    if include not in ("", "AVAILABILITY") or product not in (
        "",
        "POD",
        "CLUSTER",
        "SERVERLESS",
        "POD,SERVERLESS",
    ):
        return False, 1, problem(422, "Unprocessable Entity", "Request validation failed.", ["include: enum"])
    count = query.get("count", "1")
    if not count.isdigit() or int(count) < 1:
        return (
            False,
            1,
            problem(422, "Unprocessable Entity", "Request validation failed.", ["count: minimum 1"]),
        )
    return bool(include), int(count), None


def _problems(request: Request) -> list[str]:
    """What of a launch breaks the contract."""
    try:
        wrong = shapes.problem(_POD, request.json)
    except ValueError:
        wrong = "body: not JSON"
    return [wrong] if wrong else []


def _tags(env: dict[str, str]) -> dict[str, str]:
    try:
        return dict(json.loads(base64.b64decode(env.get("GPUSESS_TAGS", ""))))
    except (ValueError, TypeError):
        return {}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
