"""What all simulated clouds share: machines with a life over a clock that tests move, one lane for every call
through the fault layer and the official document, and a control channel. A cloud's own words are its subclass's.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from . import openapi
from .boot import Boot
from .clock import SharedClock
from .faults import JUMP_SECONDS, Fault, Kind
from .http import Answer, Reply, Request, Route, kill
from .machine import Knobs, Machine
from .ssh_hosts import SshHosts

HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
CONTROL = "/_control"


class Cloud:
    """One simulated cloud, one account. Subclasses add routes (`http.route`) in the cloud's own words."""

    name: ClassVar[str]
    document: ClassVar[str] = ""
    """The official OpenAPI file's name; empty: there is none."""
    document_prefix: ClassVar[str] = ""
    """What stands before the document's paths at this server."""
    base_path: ClassVar[str] = ""
    """What stands before them for the client: `http://127.0.0.1:PORT` + this is its base address."""
    unlisted: ClassVar[frozenset[str]] = frozenset()
    """Operations that the document does not have (and the real cloud does)."""
    documents_errors: ClassVar[bool] = True
    """False: the document has successes only, and says nothing about refusals."""
    contradicted: ClassVar[bool] = False
    """True: the vendor's own client and guide contradict the document in places; other judges than ours, who know
    nothing of that, are asked only whether the simulator crashes."""
    key: ClassVar[str] = "simulated-key-1234567890"
    environment: ClassVar[dict[str, str]] = {}
    """What the client's keys are called, where it is not NAME_API_KEY."""
    port_22: ClassVar[bool] = False
    """The cloud never says which port SSH is on, since it is 22."""
    user: ClassVar[str] = "root"

    def __init__(self, folder: Path, clock: SharedClock, ssh: bool, judge: bool) -> None:
        self.folder = folder
        self.clock = clock
        self.hosts = SshHosts(folder) if ssh else None
        self._lock = threading.RLock()
        path = openapi.document_path(self.document) if self.document else None
        self._judge = openapi.load(path) if judge and path and path.exists() else None
        self._routes = self._find_routes()
        self.violations: list[str] = []
        self.reset()

    # --- for subclasses to say ---

    @classmethod
    def auth_headers(cls) -> dict[str, str]:
        """What a call carries that has the account's key."""
        return {"Authorization": f"Bearer {cls.key}"}

    def populate(self) -> None:
        """What the account holds before anybody calls: offers, keys, and machines of others."""

    def refused_key(self, request: Request) -> Reply | None:
        """The answer to a call without the right key; None: it has it."""
        raise NotImplementedError

    def not_found(self, request: Request) -> Reply:
        """The answer to a path that the cloud does not have."""
        return Reply(404, {"error": "not found"})

    def too_many(self, request: Request) -> Reply:
        return Reply(429, {"error": "too many requests"})

    def server_error(self, request: Request) -> Reply:
        return Reply(500, {"error": "internal error"})

    def error_that_creates(self, request: Request, made: Reply) -> Reply:
        """The refusal of a launch that took effect all the same. `made` is what the launch would have said."""
        return self.server_error(request)

    def bills(self, machine: Machine) -> bool:
        return self.phase(machine) not in ("ended", "stopped")

    def resources_of_others(self) -> Any:
        """What else the account holds that is not ours and that must stay as it is; compared as JSON."""
        return None

    def more_control(self, do: str, args: dict[str, Any]) -> Any:
        """A control verb of this cloud's own."""
        raise ValueError(f"unknown control verb '{do}'")

    # --- machines ---

    def reset(self) -> None:
        """The account as it was at first. Faults, calls and violations are forgotten; knobs too."""
        with self._lock:
            if self.hosts:
                self.hosts.stop_all()
            self.knobs = Knobs()
            self.machines: dict[str, Machine] = {}
            self.calls: list[dict[str, Any]] = []
            self.faults: list[Fault] = []
            self.violations = []
            self._late = 0
            self._ignore_end = False
            self.populate()
            self._others = self._foreign_state()

    def new_id(self) -> str:
        return secrets.token_hex(16)

    def create(
        self,
        *,
        name: str,
        type: str,
        region: str,
        price: float,
        tags: dict[str, str] | None = None,
        boot: Boot | None = None,
        foreign: bool = False,
        **facts: Any,
    ) -> Machine:
        """A new machine. `boot`: how its SSH server answers; None: it has none."""
        machine = Machine(
            self.new_id(), name, type, region, price, self.clock.now(), dict(tags or {}), facts, foreign
        )
        if not foreign:
            machine.hidden = max(self._late, self.knobs.hidden)
        if self.hosts and boot is not None:
            if self.knobs.ignore_user_data:
                boot = dataclasses.replace(boot, host_key=None)
            host = self.hosts.start(
                machine.id,
                boot.host_key,
                boot.authorized,
                self.user,
                self.port_22,
                self.knobs.image_key_first,
            )
            machine.host, machine.port, machine.user = host.address, host.port, host.user
        else:
            machine.host, machine.port, machine.user = "127.0.0.1", 22, self.user
        self.machines[machine.id] = machine
        return machine

    def phase(self, machine: Machine) -> str:
        """booting, running, ending, ended, or what a test has put it in (failed, preempted, stopped)."""
        now = self.clock.now()
        if machine.ending is not None:
            return "ended" if now - machine.ending >= self.knobs.end else "ending"
        if machine.forced:
            return machine.forced
        return "running" if now - machine.created >= self.knobs.boot or machine.foreign else "booting"

    def listed(self) -> list[Machine]:
        """The machines that a list shows now. It counts as a look at those that appear late."""
        with self._lock:
            return [m for m in list(self.machines.values()) if self._shown(m)]

    def find(self, id: str) -> Machine | None:
        """One machine, as a look at it shows it."""
        machine = self.machines.get(id)
        return machine if machine and self._shown(machine) else None

    def end(self, machine: Machine) -> None:
        """Accept a machine's end. Again is fine."""
        if self._ignore_end or machine.ending is not None:
            return
        machine.ending = self.clock.now()
        if self.hosts:
            self.hosts.stop(machine.id)

    def _shown(self, machine: Machine) -> bool:
        if machine.hidden > 0:
            machine.hidden -= 1
            return False
        gone = machine.ending is not None and (
            self.clock.now() - machine.ending > self.knobs.end + self.knobs.keep_ended
        )
        return not gone

    # --- one call ---

    def answer(self, request: Request) -> Reply:
        if request.path == CONTROL:
            return self._control(request)
        if self.knobs.latency:
            time.sleep(self.knobs.latency)
        handler = self._route(request)
        fault = self._fault(request.op)
        before = self._strike(fault, request) if fault and fault.when == "before" else None
        reply = before or self._effect(request, handler, fault)
        if fault and fault.when == "after" and before is None:
            reply = self._strike(fault, request) or reply
        return reply

    def _effect(self, request: Request, handler: Answer | None, fault: Fault | None) -> Reply:
        with self._lock:
            kind = fault.kind if fault else ""
            self._late = fault.polls if fault and kind == Kind.LATE else 0
            self._ignore_end = kind == Kind.IGNORED
            try:
                reply = self._handled(request, handler)
            finally:
                self._late, self._ignore_end = 0, False
            self._judge_call(request, reply)
            if kind == Kind.ERROR_THAT_CREATES and reply.status < 300:
                reply = self.error_that_creates(request, reply)
            self._note(request, reply.status)
            return reply

    def _handled(self, request: Request, handler: Answer | None) -> Reply:
        refused = self.refused_key(request)
        if refused:
            return refused
        if handler is None:
            return self.not_found(request)
        try:
            return handler(self, request)
        except Exception:  # noqa: BLE001 (a simulator that fails is a finding, and the caller still gets an answer)
            self.violations.append(f"{request.method} {request.path}: {traceback.format_exc()}")
            return self.server_error(request)

    def _note(self, request: Request, status: int) -> None:
        self.calls.append(
            {"op": request.op, "method": request.method, "path": request.path, "status": status,
             "at": self.clock.now(), "body": request.body.decode(errors="replace")}
        )  # fmt: skip

    def _fault(self, op: str) -> Fault | None:
        with self._lock:
            struck = [f for f in self.faults if f.strikes(op)]
            return struck[0] if struck else None

    def _strike(self, fault: Fault, request: Request) -> Reply | None:
        """The answer in place of the cloud's own; None: the call goes its way."""
        match fault.kind:
            case Kind.KILL:
                kill(fault.pid)
                return Reply(broken="lost")
            case Kind.LOST | Kind.RESET | Kind.HANG:
                reply = Reply(broken=str(fault.kind))
            case Kind.TOO_MANY:
                reply = self.too_many(request)
            case Kind.TOO_MANY_PLAIN:
                reply = Reply(429, "API requests too frequent: endpoint threshold=4.5")
            case Kind.ERROR:
                reply = self.server_error(request)
            case Kind.BAD_GATEWAY:
                reply = Reply(502, HTML, {"Content-Type": "text/html"})
            case Kind.JUMP:
                self.clock.advance(JUMP_SECONDS)
                return None
            case _:
                return None
        if fault.when == "before":
            self._note(request, reply.status if not reply.broken else 0)
        return reply

    def _judge_call(self, request: Request, reply: Reply) -> None:
        if self._judge is None or request.op in self.unlisted or not request.op:
            return
        path = request.path.removeprefix(self.document_prefix)
        if reply.status < 300:  # a refused request may well be wrong: that is why it was refused
            try:
                body = request.json
            except ValueError:
                body = None
            self.violations += self._judge.request_problems(request.method, path, request.query, body)
        if reply.status >= 400 and not self.documents_errors:
            return
        body = (
            json.loads(reply.data()[0]) if reply.data()[0] and not isinstance(reply.body, str) else reply.body
        )
        self.violations += self._judge.reply_problems(request.method, path, reply.status, body)

    def _find_routes(self) -> list[tuple[Route, Answer]]:
        found = []
        for name in dir(type(self)):
            handler = getattr(type(self), name)
            found += [(r, handler) for r in getattr(handler, "routes", ())]
        return sorted(found, key=lambda pair: pair[0].path.count("{"))

    def _route(self, request: Request) -> Answer | None:
        for one, handler in self._routes:
            params = one.match(request.method, request.path)
            if params is not None:
                request.params, request.op = params, one.op
                return handler
        return None

    # --- control ---

    def _control(self, request: Request) -> Reply:
        args = request.json or {}
        do = args.pop("do", "")
        with self._lock:
            try:
                return Reply(200, {"value": self._obey(do, args)})
            except (TypeError, ValueError, KeyError) as exc:
                return Reply(400, {"error": f"{do}: {type(exc).__name__}: {exc}"})

    def _obey(self, do: str, args: dict[str, Any]) -> Any:
        verbs: dict[str, Callable[[], Any]] = {
            "reset": self.reset,
            "calls": lambda: self.calls,
            "forget_calls": self.calls.clear,
            "disarm": self.faults.clear,
            "machines": lambda: [self._told(m) for m in self.machines.values()],
            "billing": lambda: [self._told(m) for m in self.machines.values() if self.bills(m)],
            "touched": self._touched,
            "violations": lambda: self.violations,
        }
        match do:
            case "arm":
                self.faults += [Fault(**fault) for fault in args["faults"]]
            case "advance":
                self.clock.advance(args["seconds"])
            case "set":
                self.knobs = dataclasses.replace(self.knobs, **args)
            case "force":
                machine = self.machines[args["id"]]
                machine.forced = args["phase"]
                if self.hosts and args.get("cut"):
                    self.hosts.stop(machine.id)
            case "end":
                self.end(self.machines[args["id"]])
            case _ if do in verbs:
                return verbs[do]()
            case _:
                return self.more_control(do, args)
        return None

    def _told(self, machine: Machine) -> dict[str, Any]:
        return {**asdict(machine), "phase": self.phase(machine)}

    def _foreign_state(self) -> dict[str, str]:
        state = {m.id: json.dumps(asdict(m)) for m in self.machines.values() if m.foreign}
        return {**state, "resources": json.dumps(self.resources_of_others())}

    def _touched(self) -> list[str]:
        """What of others' things is not as it was."""
        now = self._foreign_state()
        return [f"{k}: {v} → {now.get(k)}" for k, v in self._others.items() if now.get(k) != v]
