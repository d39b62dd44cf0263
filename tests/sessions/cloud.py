"""A cloud in memory, with a clock that jumps and one fault at a time: what renting is tested against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpusess.providers.base import Abilities, Endpoint, Instance, InstanceStatus, LaunchRequest, Offer
from gpusess.sessions.context import Context
from gpusess.sessions.store import Store
from gpusess.spec import parse_spec

SPEC = """
name: test
resources: {provider: local, max_price: 2.0}
runs: [{name: r, model: org/m, task: {name: word_problems}}]
"""


class Died(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


class Clock:
    """Moves when somebody sleeps, and when it is pushed."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Cloud:
    """An account's instances. Hooks raise to make the faults."""

    def __init__(self, name: str = "local", clock: Clock | None = None, **offer: Any) -> None:
        self.name = name
        self.account = "key-1"
        self.abilities = Abilities(settle_seconds=0.0)
        self.clock = clock or Clock()
        self.instances: dict[str, Instance] = {}
        self.hidden_lists = 0
        """How many lists the newest instance stays missing from."""
        self.before_launch: Callable[[], None] = lambda: None
        self.after_launch: Callable[[], None] = lambda: None
        self.on_list: Callable[[], None] = lambda: None
        self.terminate_works = True
        self.launches: list[LaunchRequest] = []
        self.terminated: list[str] = []
        plain = Offer(name, "cpu", "here", 1.5, "", 0, 2, 8.0, True)
        self.offered = [replace(plain, **offer)]
        self.status = InstanceStatus.RUNNING
        """What a new instance is in."""

    async def offers(self) -> list[Offer]:
        return self.offered

    async def launch(self, request: LaunchRequest) -> Instance:
        self.launches.append(request)
        self.before_launch()
        number = f"{self.name}-i{len(self.launches)}"
        endpoint = Endpoint("127.0.0.1", 22, "u")
        made = Instance(number, request.name, self.status, endpoint, request.offer.price, dict(request.tags))
        self.instances[number] = made
        self.after_launch()
        return made

    async def list(self) -> list[Instance]:
        self.on_list()
        return self._visible()

    async def get(self, instance_id: str) -> Instance | None:
        return next((i for i in self._visible() if i.id == instance_id), None)

    async def terminate(self, instance_id: str) -> None:
        self.terminated.append(instance_id)
        if self.terminate_works:
            self.instances.pop(instance_id, None)

    async def close(self) -> None:
        pass

    def _visible(self) -> list[Instance]:
        every = [*self.instances.values()]
        if self.hidden_lists > 0:
            self.hidden_lists -= 1
            return every[:-1]
        return every

    def billing(self) -> list[str]:
        return [*self.instances]


def context(tmp_path: Path, *clouds: Cloud, spec: str = SPEC) -> Context:
    """A new session over these clouds, of which the first is its provider. GPUSESS_HOME is set already."""
    clock = clouds[0].clock
    store = Store(tmp_path / "s.db", clock)
    store.add_session(
        id="s",
        name="n",
        job="j",
        provider=clouds[0].name,
        spec=spec,
        spec_path="x",
        options={},
        runs=[("s-r", "r")],
    )
    first: Any = clouds[0]
    ctx = Context(store, "s", parse_spec(spec, "x.yaml", tmp_path), first, clock, clock.sleep)
    for cloud in clouds:
        ctx._open[cloud.name] = cloud  # type: ignore[assignment]
    return ctx


def raises(error: BaseException) -> Callable[[], None]:
    def throw() -> None:
        raise error

    return throw
