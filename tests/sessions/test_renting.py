"""Renting: whatever dies or is lost around a call that costs money, at most one instance lives and the ledger
knows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpusess.errors import GpusessError, NoCapacity, ProviderFault, SessionError
from gpusess.providers.base import Abilities, Endpoint, Instance, InstanceStatus, LaunchRequest, Offer
from gpusess.sessions import renting
from gpusess.sessions.context import Context
from gpusess.sessions.states import State
from gpusess.sessions.store import Store
from gpusess.spec import parse_spec

SPEC = """
name: test
resources: {provider: local, max_price: 2.0}
runs: [{name: r, model: org/m, task: {name: word_problems}}]
"""


class Died(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


class Cloud:
    """A cloud in memory with an account's instances, and one fault at a time."""

    name = "local"

    def __init__(self) -> None:
        self.abilities = Abilities(settle_seconds=0.0)
        self.instances: dict[str, Instance] = {}
        self.before_launch: Callable[[], None] = lambda: None
        self.after_launch: Callable[[], None] = lambda: None
        self.terminate_works = True
        self.offer = Offer("local", "cpu", "here", 1.5, "", 0, 2, 8.0, True)

    async def offers(self) -> list[Offer]:
        return [self.offer]

    async def launch(self, request: LaunchRequest) -> Instance:
        self.before_launch()
        number = f"i{len(self.instances)}"
        endpoint = Endpoint("127.0.0.1", 22, "u")
        made = Instance(number, request.name, InstanceStatus.RUNNING, endpoint, request.offer.price)
        self.instances[number] = made
        self.after_launch()
        return made

    async def list(self) -> list[Instance]:
        return [*self.instances.values()]

    async def get(self, instance_id: str) -> Instance | None:
        return self.instances.get(instance_id)

    async def terminate(self, instance_id: str) -> None:
        if self.terminate_works:
            del self.instances[instance_id]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Context, Cloud]:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    clock, cloud = Clock(), Cloud()
    store = Store(tmp_path / "s.db", clock)
    store.add_session(
        id="s", name="n", job="j", provider="local", spec=SPEC, spec_path="x", options={}, runs=[("s-r", "r")]
    )
    spec = parse_spec(SPEC, "x.yaml", tmp_path)
    ctx: Any = Context(store, "s", spec, cloud, clock, clock.sleep)  # type: ignore[arg-type]
    return ctx, cloud


def raises(error: BaseException) -> Callable[[], None]:
    def throw() -> None:
        raise error

    return throw


async def test_the_intent_is_written_before_the_call(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    seen: list[Any] = []
    cloud.before_launch = lambda: seen.append(
        (ctx.row.state, ctx.row.launched, ctx.store.intents("s")[0].settled)
    )
    await renting.launch(ctx)
    assert seen == [(State.LAUNCHING, 1000.0, None)]
    assert ctx.row.state is State.BOOTING
    assert ctx.row.instance_id == "i0"
    assert ctx.store.intents("s")[0].outcome == "launched"


@pytest.mark.parametrize("when", ["before_launch", "after_launch"])
async def test_killed_around_the_launch_leaves_one_instance(world: tuple[Context, Cloud], when: str) -> None:
    ctx, cloud = world
    setattr(cloud, when, raises(Died()))
    with pytest.raises(Died):
        await renting.launch(ctx)
    assert ctx.row.state is State.LAUNCHING
    setattr(cloud, when, lambda: None)
    await renting.launch(ctx)
    assert [i.id for i in await cloud.list()] == [ctx.row.instance_id]
    assert all(i.settled for i in ctx.store.intents("s"))


async def test_an_answer_that_is_lost_is_found_in_the_list(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.after_launch = raises(ProviderFault("502 with HTML"))
    await renting.launch(ctx)
    assert ctx.row.instance_id == "i0"
    assert len(cloud.instances) == 1


async def test_a_fault_without_an_instance_bills_nothing(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.before_launch = raises(ProviderFault("500"))
    with pytest.raises(ProviderFault):
        await renting.launch(ctx)
    assert ctx.row.launched is None
    assert ctx.store.intents("s")[0].outcome == "refused: 500"


async def test_absence_counts_only_after_the_settle_time(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.abilities = Abilities(settle_seconds=60.0)
    cloud.before_launch = raises(Died())
    with pytest.raises(Died):
        await renting.launch(ctx)
    cloud.before_launch = lambda: None
    first = ctx.store.intents("s")[0]
    shown_after = 30.0
    hidden = Instance("late", first.launch_name, InstanceStatus.RUNNING, None, 1.5)
    listing = cloud.list

    async def late() -> list[Instance]:
        return [hidden] if ctx.clock() >= 1000 + shown_after else await listing()

    cloud.list = late  # type: ignore[method-assign]
    await renting.launch(ctx)
    assert ctx.row.instance_id == "late", "adopted, not launched a second time"
    assert cloud.instances == {}


async def test_too_dear_or_sold_out_is_said(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.offer = Offer("local", "cpu", "here", 2.5, "", 0, 2, 8.0, True)
    with pytest.raises(NoCapacity, match=r"\$2.50/h, more than max_price \$2.00/h"):
        await renting.launch(ctx)
    cloud.offer = Offer("local", "cpu", "here", 1.5, "", 0, 2, 8.0, False)
    with pytest.raises(NoCapacity, match="nothing is available now of cpu"):
        await renting.launch(ctx)
    assert ctx.store.intents("s") == []
    assert cloud.instances == {}


async def test_terminated_is_said_when_the_provider_says_so(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    await renting.launch(ctx)
    ctx.store.move("s", State.TERMINATING)
    cloud.terminate_works = False
    with pytest.raises(
        SessionError, match="not confirmed the end of i0 for 15 minutes; it may go on billing"
    ):
        await renting.give_back(ctx)
    assert ctx.row.ended is None
    cloud.terminate_works = True
    await renting.give_back(ctx)
    assert ctx.row.ended is not None
    assert cloud.instances == {}


async def test_terminating_a_launch_without_an_answer_ends_what_it_left(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.after_launch = raises(Died())
    with pytest.raises(Died):
        await renting.launch(ctx)
    ctx.store.move("s", State.TERMINATING)
    await renting.give_back(ctx)
    assert cloud.instances == {}
    assert all(i.settled for i in ctx.store.intents("s"))


async def test_revive_goes_on_with_what_lives_and_replaces_what_does_not(
    world: tuple[Context, Cloud],
) -> None:
    ctx, cloud = world
    await renting.launch(ctx)
    ctx.store.move("s", State.FAILED, error="x")
    await renting.revive(ctx)
    assert (ctx.row.state, ctx.row.instance_id) == (State.BOOTING, "i0")
    ctx.store.move("s", State.FAILED, error="gone")
    cloud.instances["i0"] = Instance("i0", "n", InstanceStatus.FAILED, None, 1.5, reason="taken away")
    ctx.clock.now += 3600  # type: ignore[attr-defined]
    await renting.revive(ctx)
    assert ctx.row.instance_id in cloud.instances
    assert len(cloud.instances) == 1, "what has failed may still bill: it was given back first"
    assert ctx.row.spent_before == pytest.approx(1.5, rel=0.01)


async def test_private_keys_are_private_and_not_shown(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    requests: list[LaunchRequest] = []
    launch = cloud.launch

    async def keep(request: LaunchRequest) -> Instance:
        requests.append(request)
        return await launch(request)

    cloud.launch = keep  # type: ignore[method-assign]
    await renting.launch(ctx)
    assert "PRIVATE KEY" in requests[0].host_private_key
    assert "PRIVATE" not in repr(requests[0])
    assert (ctx.folder / "client_key").stat().st_mode & 0o077 == 0
    assert not [
        f for f in ctx.folder.iterdir() if requests[0].host_private_key in f.read_text(errors="replace")
    ]


async def test_a_boot_that_fails_says_why(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    await renting.launch(ctx)
    cloud.instances["i0"] = Instance("i0", "n", InstanceStatus.FAILED, None, 1.5, reason="no disk")
    with pytest.raises(GpusessError, match="did not start: no disk"):
        await renting.boot(ctx)
