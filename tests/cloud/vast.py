"""A simulated Vast.ai: asks of other people's machines, containers made of them, and errors that vary in form.

What a create with too low a bid does is as on the real market: it is refused, and a stopped instance is there.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from typing import Any

from . import boot, shapes
from .http import Answer, Reply, Request, route
from .shapes import many, number, table, text
from .simulator import Cloud, Machine

LARGEST_ARGS = 4096
LARGEST_ENV = 32768
THRESHOLDS = {"launch": 4.5, "terminate": 3.0, "list": 2.0, "get": 2.0, "offers": 2.0, "manage": 1.5}
"""Seconds between calls of one kind, where a test asks for it (`pace`)."""

_CREATE = table(
    image=text(least=1), label={"type": ["string", "null"], "maxLength": 256}, disk=number(1),
    price={"type": ["number", "null"], "minimum": 0.001, "maximum": 128}, args=many(text()),
    onstart={"type": ["string", "null"]}, runtype=text(), env={"type": ["object", "string"]},
    cancel_unavail={"type": "boolean"}, target_state={"enum": ["running", "stopped"]},
)  # fmt: skip
_SEARCH = table(type={"enum": ["ondemand", "on-demand", "bid", "reserved"]}, limit=number(1, whole=True),
                order=many(many(text(), 2, 2)), allocated_storage=number(1))  # fmt: skip


def _ask(
    id: int, gpu: str, gpus: int, ram: int, price: float, bid: float, place: str, **more: Any
) -> dict[str, Any]:
    return {
        "id": id, "ask_contract_id": id, "machine_id": id % 1000, "gpu_name": gpu, "num_gpus": gpus, "gpu_ram": ram,
        "dph_total": price, "dph_base": price - 0.01, "min_bid": bid, "geolocation": place, "cpu_cores_effective": 16.0,
        "cpu_ram": 128_000, "gpu_frac": 0.5, "reliability2": 0.997, "reliability": 0.997, "rentable": True, "rented": False,
        "verified": True, "external": False, "cuda_max_good": 12.9, "direct_port_count": 10, "disk_space": 500.0,
        "score": 100 / price, **more,
    }  # fmt: skip


ASKS = [
    _ask(7000001, "RTX 4090", 1, 24_564, 0.41, 0.20, "Texas, US"),
    _ask(7000002, "RTX 4090", 4, 24_564, 1.62, 0.80, "Bavaria, DE"),
    _ask(7000003, "H100 SXM", 8, 81_559, 17.20, 9.60, "Virginia, US"),
    _ask(7000004, "RTX 3060", 1, 12_288, 0.07, 0.03, "Hungary, HU", reliability=0.71, reliability2=0.71),
    _ask(7000005, "A100 SXM4", 1, 81_920, 0.95, 0.55, "Quebec, CA", cuda_max_good=12.2),
]


def both(method: str, path: str, op: str) -> Any:
    """With and without the last slash, as the real one takes them."""

    def mark(answer: Answer) -> Answer:
        return route(method, path, op)(route(method, path + "/", op)(answer))

    return mark


DEPARTURES = {
    "$.env: ": "the vendor's guide and client send a table; the document says text",
    "$.order: ": "the document's limits are those of one pair, not of the list",
    "$.instance_api_key: ": "the market answers a create with it; the document leaves it out",
    "$.instances.ports: ": "a table in the list's part of the document, and a list here",
    "$.instances: None": "what the market shows for an instance that it does not know, by the vendor's client",
    "$.new_contract: not": "an error that creates is in no document",
    "status 401 is not": "what an unknown key gets everywhere",
    ".extra_env[": "pairs in one place of the document and text in another",
}
"""Where the official document is against itself or the vendor's own client: not counted as violations."""


class VastCloud(Cloud):
    name = "vast"
    document = "vast.yaml"
    contradicted = True
    key = "5134ac70simulated1234567890"
    user = "root"
    unlisted = frozenset({"user"})

    def populate(self) -> None:
        self._numbers = itertools.count(28_000_001)
        self._id = ""
        self.asks = [dict(ask) for ask in ASKS]
        self.last: dict[str, float] = {}
        self.paced = self.bare_ports = False
        self.bid_floor = 1.0
        self.volumes = [
            {
                "id": 41,
                "disk_space": 200.0,
                "storage_total_cost": 0.02,
                "status": "created",
                "start_date": 1.79e9,
            }
        ]
        for name, tags in (("somebody's training", {}), ("gpusess-0ther1ap-1", {"gpusess": "0ther1ap"})):
            packed = base64.b64encode(json.dumps(tags).encode()).decode()
            self.create(
                name=name, type="RTX 4090", region="Texas, US", price=0.41, tags=tags, foreign=True,
                ask=ASKS[0], env=[["GPUSESS_TAGS", packed]] if tags else [], bid=False,
            )  # fmt: skip

    def new_id(self) -> str:
        given, self._id = self._id, ""
        return given or str(next(self._numbers))

    def bills(self, machine: Machine) -> bool:
        """A stopped instance's disk bills; a destroyed one is gone at once."""
        return machine.ending is None

    def refused_key(self, request: Request) -> Reply | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if given == self.key:
            return self._too_soon(request)
        own = given.removeprefix("container-key-")
        if own != given and own == request.params.get("id") and request.op in ("get", "manage", "terminate"):
            return None
        if request.op == "offers":
            return Reply(404, {"error": "auth_error", "msg": "Invalid user key"})
        return Reply(401, {"success": False, "error": "auth_error", "msg": "Invalid user key"})

    def not_found(self, request: Request) -> Reply:
        return Reply(404, {"success": False, "error": "no_such_instance", "msg": "Instance not found"})

    def too_many(self, request: Request) -> Reply:
        return Reply(429, {"detail": "API requests too frequent endpoint threshold=4.5"})

    def error_that_creates(self, request: Request, made: Reply) -> Reply:
        id = made.body["new_contract"]
        self.machines[str(id)].forced = "stopped"
        msg = "error 400/3752: price is below the minimum bid"
        return Reply(400, {"success": False, "error": "invalid_price", "msg": msg, "new_contract": id})

    def resources_of_others(self) -> Any:
        return self.volumes

    def more_control(self, do: str, args: dict[str, Any]) -> Any:
        match do:
            case "pace":
                self.paced = True
            case "bare_ports":
                self.bare_ports = True
            case "bid_floor":
                self.bid_floor = args["times"]
            case "take":
                self.asks = [a for a in self.asks if a["id"] != args["ask"]]
            case _:
                return super().more_control(do, args)
        return None

    def _too_soon(self, request: Request) -> Reply | None:
        now, limit = self.clock.now(), THRESHOLDS.get(request.op, 1.0)
        before, self.last[request.op] = self.last.get(request.op, 0.0), now
        if self.paced and now - before < limit:
            return Reply(429, f"API requests too frequent: endpoint threshold={limit}")
        return None

    def _judge_call(self, request: Request, reply: Reply) -> None:
        before = len(self.violations)
        super()._judge_call(request, reply)
        new = [v for v in self.violations[before:] if not any(d in v for d in DEPARTURES)]
        self.violations[before:] = new

    # --- the market ---

    @both("POST", "/api/v0/bundles", "offers")
    def search(self, request: Request) -> Reply:
        try:
            wanted = request.json or {}
            wrong = shapes.problem(_SEARCH, wanted)
        except ValueError:
            wrong = "Invalid json body"
        if wrong:
            return Reply(400, {"error": "invalid_request", "msg": wrong})
        bid = wanted.get("type") == "bid"
        shown = [
            dict(a)
            for a in self.asks
            if all(_meets(a.get(k), v) for k, v in wanted.items() if isinstance(v, dict))
        ]
        for ask in shown:
            ask["dph_total"] = (ask["min_bid"] + 0.01) if bid else ask["dph_total"]
            ask["is_bid"] = bid
        for name, way in reversed(wanted.get("order", [])):
            shown.sort(key=lambda a: a.get(name) or 0, reverse=way == "desc")
        return Reply(200, {"offers": shown[: wanted.get("limit", 64)]})

    @both("PUT", "/api/v0/asks/{id}", "launch")
    def launch(self, request: Request) -> Reply:
        ask = next((a for a in self.asks if str(a["id"]) == request.params["id"]), None)
        wrong = self._wrong_create(request)
        if wrong:
            return self._no(400, "invalid_args", f"error 400/3467: Invalid args: {wrong}")
        if ask is None or self.knobs.no_capacity:
            status = 404 if ask is None else 410
            msg = f"error {status}/3603: no_such_ask Instance type by id {request.params['id']} is not available."
            return self._no(status, "no_such_ask", msg)
        body = request.json
        id = str(next(self._numbers))
        env = _environment(body.get("env") or {})
        started, why = self._start(body, env, id)
        self._id = id
        machine = self.create(
            name=body.get("label") or "", type=ask["gpu_name"], region=ask["geolocation"],
            price=body.get("price") or ask["dph_total"], tags=_tags(env), boot=started, ask=ask, env=[[k, v] for k, v in env.items()],
            bid=body.get("price") is not None, image=body["image"], runtype=body.get("runtype", "ssh"), disk=body.get("disk", 8), why=why,
        )  # fmt: skip
        if why:
            machine.forced = "failed"
        if body.get("target_state") == "stopped":
            machine.forced = "stopped"
        made = Reply(
            200, {"success": True, "new_contract": int(id), "instance_api_key": f"container-key-{id}"}
        )
        if machine.facts["bid"] and body["price"] < ask["min_bid"] * self.bid_floor:
            return self.error_that_creates(request, made)
        return made

    def _wrong_create(self, request: Request) -> str:
        try:
            body = request.json
        except ValueError:
            return "the body is no JSON"
        if not isinstance(body, dict):
            return "the body is no object"
        body = {k: v for k, v in body.items() if v is not None}
        wrong = shapes.problem(_CREATE, body)
        if wrong or not body.get("image"):
            return wrong or "'image' is required"
        if len(" ".join(body.get("args", []))) + len(body.get("onstart", "")) > LARGEST_ARGS:
            return f"args and onstart are longer than {LARGEST_ARGS} characters"
        if len(json.dumps(body.get("env", ""))) > LARGEST_ENV:
            return f"env is longer than {LARGEST_ENV} characters"
        return ""

    def _no(self, status: int, error: str, msg: str) -> Reply:
        return Reply(status, {"success": False, "error": error, "msg": msg})

    def _start(self, body: dict[str, Any], env: dict[str, str], id: str) -> tuple[boot.Boot, str]:
        """What the container does at its start, and why it stopped at once if it did."""
        words = [*([body["onstart"]] if body.get("onstart") else []), *(body.get("args") or [])]
        if body.get("runtype") != "args" or "-p 22:22" not in env:
            return boot.Boot(None, []), ""
        if words[:2] not in (["/bin/sh", "-c"], ["bash", "-c"]) or "$GPUSESS_START" not in words[2]:
            return boot.Boot(None, []), "the container's command ended"
        given = {**env, "CONTAINER_ID": id, "CONTAINER_API_KEY": f"container-key-{id}"}
        given = {k: v for k, v in given.items() if not k.startswith("-")}
        try:
            script = base64.b64decode(env["GPUSESS_START"]).decode()
            return boot.start_script(script, self.folder / "containers" / id, given), ""
        except (ValueError, KeyError) as exc:
            return boot.Boot(None, []), f"Error: {exc}"

    # --- instances ---

    @both("GET", "/api/v1/instances", "list")
    def page(self, request: Request) -> Reply:
        query = request.form
        limit = int(query.get("limit", "25")) if query.get("limit", "25").lstrip("-").isdigit() else 25
        limit = min(25, limit if limit > 0 else 5)
        try:
            after = int(base64.b64decode(query["after_token"])) if "after_token" in query else 0
            filters = json.loads(query.get("select_filters", "{}"))
            columns = json.loads(query.get("select_cols", '["*"]'))
            shown = [self._instance(m) for m in self.listed() if m.ending is None]
            shown = [i for i in shown if all(_meets(i.get(k), v) for k, v in filters.items())]
        except (ValueError, TypeError, AttributeError, binascii.Error):
            return Reply(400, {"success": False, "error": "invalid_args", "msg": "invalid query"})
        shown.sort(key=lambda i: i["id"])
        rest = [i for i in shown if i["id"] > after]
        here = rest[:limit]
        labels: dict[str, int] = {}
        for one in shown:
            labels[one["label"] or ""] = labels.get(one["label"] or "", 0) + 1
        token = base64.b64encode(str(here[-1]["id"]).encode()).decode() if len(rest) > limit else None
        if columns != ["*"]:
            here = [{c: i.get(c) for c in columns} for i in here]
        return Reply(200, {"success": True, "instances_found": len(here), "total_instances": len(shown),
                           "label_counts": labels, "next_token": token, "instances": here})  # fmt: skip

    @both("GET", "/api/v0/instances/{id}", "get")
    def one(self, request: Request) -> Reply:
        if not request.params["id"].isdigit():
            return self._no(400, "invalid_args", "invalid instance_id")
        machine = self.find(request.params["id"])
        shown = self._instance(machine) if machine and machine.ending is None else None
        if shown and self.bare_ports:
            shown["ports"] = [22]
        return Reply(200, {"instances": shown})

    @both("PUT", "/api/v0/instances/{id}", "manage")
    def manage(self, request: Request) -> Reply:
        machine = self.find(request.params["id"])
        if machine is None or machine.ending is not None:
            return self.not_found(request)
        try:
            state, label = request.json.get("state"), request.json.get("label")
        except (ValueError, AttributeError):
            return self._no(400, "invalid_args", "the body is no object")
        if state not in (None, "running", "stopped") or not isinstance(label, (str, type(None))):
            return self._no(400, "invalid_args", "state: running or stopped")
        if state:
            machine.forced = "stopped" if state == "stopped" else ""
        machine.name = label if label is not None else machine.name
        return Reply(200, {"success": True})

    @both("DELETE", "/api/v0/instances/{id}", "terminate")
    def destroy(self, request: Request) -> Reply:
        if not request.params["id"].isdigit():
            return self._no(400, "invalid_args", "invalid instance_id")
        machine = self.machines.get(request.params["id"])
        if machine is None or machine.ending is not None:
            return self.not_found(request)
        self.end(machine)
        return Reply(200, {"success": True, "msg": "Instance destroyed successfully"})

    @both("GET", "/api/v0/volumes", "volumes")
    def list_volumes(self, request: Request) -> Reply:
        return Reply(200, {"volumes": self.volumes})

    @both("GET", "/api/v0/users/current", "user")
    def user_now(self, request: Request) -> Reply:
        return Reply(200, {"id": 1, "credit": 10.0, "email": "a@example.org"})

    def _instance(self, machine: Machine) -> dict[str, Any]:
        phase, ask, facts = self.phase(machine), machine.facts["ask"], machine.facts
        actual, intended, state, said = {
            "booting": ("loading", "running", "running", "pulling the image"),
            "running": ("running", "running", "running", "success, running"),
            "stopped": ("exited", "stopped", "stopped", "stopped"),
            "preempted": ("exited", "stopped", "stopped", "outbid"),
            "failed": ("exited", "running", "running", facts.get("why") or "Error: the container exited"),
        }.get(phase, ("exited", "stopped", "stopped", ""))
        port = {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(machine.port)}]}
        return {
            "id": int(machine.id), "label": machine.name or None, "actual_status": actual, "intended_status": intended,
            "cur_state": state, "next_state": state, "status_msg": said, "public_ipaddr": machine.host + "\n",
            "ports": port if phase == "running" else None, "extra_env": facts["env"], "dph_total": machine.price,
            "dph_base": machine.price, "storage_total_cost": 0.004, "is_bid": facts["bid"] or phase == "preempted",
            "gpu_name": ask["gpu_name"], "num_gpus": ask["num_gpus"], "gpu_ram": ask["gpu_ram"], "geolocation": ask["geolocation"],
            "machine_id": ask["machine_id"], "image_uuid": facts.get("image", ""), "image_runtype": facts.get("runtype", "ssh"),
            "start_date": machine.created, "ssh_host": "ssh4.vast.ai", "ssh_port": 10_600, "jupyter_token": "53fc448dsecret",
            "reliability2": 0.997, "cpu_cores_effective": 16.0, "cpu_ram": 128_000, "disk_space": 50.0,
        }  # fmt: skip


_OPERATORS: dict[str, Any] = {
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "in": lambda a, b: a in b,
    "notin": lambda a, b: a not in b,
}


def _meets(value: Any, conditions: Any) -> bool:
    """Whether a row's value meets `{"gte": 3, …}`. What the row does not have is not looked at; the vendor's
    client sends numbers as text, and the market takes them."""
    if not isinstance(conditions, dict):
        raise TypeError("a filter is a table of operators")
    return value is None or all(_holds(value, how, limit) for how, limit in conditions.items())


def _holds(value: Any, how: str, limit: Any) -> bool:
    if isinstance(limit, str) and isinstance(value, (int, float)):
        try:
            limit = float({"True": "1", "False": "0"}.get(limit, limit))
        except ValueError:
            return False
    try:
        return bool(_OPERATORS[how](value, limit)) if how in _OPERATORS else True
    except TypeError:
        return False


def _environment(env: dict[str, Any] | str) -> dict[str, str]:
    """The table, or docker's flags as text."""
    if isinstance(env, dict):
        return {str(k): str(v) for k, v in env.items()}
    words, found = env.split(), {}
    for flag, value in zip(words[::2], words[1::2], strict=False):
        name, _, content = value.partition("=")
        found.update({name: content} if flag == "-e" else {f"{flag} {value}": "1"})
    return found


def _tags(env: dict[str, str]) -> dict[str, str]:
    try:
        return dict(json.loads(base64.b64decode(env.get("GPUSESS_TAGS", ""))))
    except (ValueError, TypeError):
        return {}
