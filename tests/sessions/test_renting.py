"""Renting: whatever dies or is lost around a call that costs money, at most one instance lives and the ledger
knows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpusess.errors import GpusessError, NoCapacity, ProviderFault, QuotaExceeded, RateLimited, SessionError
from gpusess.providers.base import Abilities, Instance, InstanceStatus, LaunchRequest
from gpusess.sessions import giving_back, money, renting
from gpusess.sessions.context import Context
from gpusess.sessions.states import State

from .cloud import SPEC, Cloud, Died, context, raises


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Context, Cloud]:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    cloud = Cloud()
    return context(tmp_path, cloud), cloud


async def test_the_intent_is_written_before_the_call(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    seen: list[Any] = []
    cloud.before_launch = lambda: seen.append(
        (ctx.row.state, ctx.row.launched, ctx.store.intents("s")[0].settled)
    )
    await renting.launch(ctx)
    assert seen == [(State.LAUNCHING, 1000.0, None)]
    assert ctx.row.state is State.BOOTING
    assert ctx.row.instance_id == "local-i1"
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
    assert ctx.row.instance_id == "local-i1"
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
    cheap = cloud.offered[0]
    cloud.offered = [replace(cheap, price=2.5)]
    with pytest.raises(NoCapacity, match=r"\$2.50/h, more than max_price \$2.00/h"):
        await renting.launch(ctx)
    cloud.offered = [replace(cheap, available=False)]
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
        SessionError, match="not confirmed the end of local-i1 for 15 minutes; it may go on billing"
    ):
        await giving_back.give_back(ctx)
    assert ctx.row.ended is None
    cloud.terminate_works = True
    await giving_back.give_back(ctx)
    assert ctx.row.ended is not None
    assert cloud.instances == {}


async def test_terminating_a_launch_without_an_answer_ends_what_it_left(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.after_launch = raises(Died())
    with pytest.raises(Died):
        await renting.launch(ctx)
    ctx.store.move("s", State.TERMINATING)
    await giving_back.give_back(ctx)
    assert cloud.instances == {}
    assert all(i.settled for i in ctx.store.intents("s"))


async def test_revive_goes_on_with_what_lives_and_replaces_what_does_not(
    world: tuple[Context, Cloud],
) -> None:
    ctx, cloud = world
    await renting.launch(ctx)
    ctx.store.move("s", State.FAILED, error="x")
    await renting.revive(ctx)
    assert (ctx.row.state, ctx.row.instance_id) == (State.BOOTING, "local-i1")
    ctx.store.move("s", State.FAILED, error="gone")
    cloud.instances["local-i1"] = Instance(
        "local-i1", "n", InstanceStatus.FAILED, None, 1.5, reason="taken away"
    )
    ctx.clock.now += 3600  # type: ignore[attr-defined]
    await renting.revive(ctx)
    assert ctx.row.instance_id in cloud.instances
    assert len(cloud.instances) == 1, "what has failed may still bill: it was given back first"
    assert money.spent(ctx.ledger.rentals("s"), ctx.clock()) == pytest.approx(1.5, rel=0.01)


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
    cloud.instances["local-i1"] = Instance(
        "local-i1", "n", InstanceStatus.FAILED, None, 1.5, reason="no disk"
    )
    with pytest.raises(GpusessError, match="did not start: no disk"):
        await renting.boot(ctx)


# --- what proves that there is none ---


async def test_a_laptop_that_slept_through_the_settle_time_has_seen_nothing(
    world: tuple[Context, Cloud],
) -> None:
    ctx, cloud = world
    cloud.abilities = Abilities(settle_seconds=60.0, poll_seconds=5.0)
    cloud.after_launch = raises(Died())
    with pytest.raises(Died):
        await renting.launch(ctx)
    cloud.after_launch = lambda: None
    cloud.hidden_lists = 3
    cloud.clock.now += 8 * 3600
    await renting.launch(ctx)
    assert cloud.billing() == [ctx.row.instance_id], "it appeared in the fourth list, and was taken over"
    assert len(cloud.launches) == 1


async def test_another_key_proves_nothing(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.after_launch = raises(Died())
    with pytest.raises(Died):
        await renting.launch(ctx)
    cloud.account = "key-2"
    with pytest.raises(SessionError, match="launched with another key of local"):
        await renting.launch(ctx)
    assert ctx.store.intents("s")[0].settled is None
    assert ctx.ledger.rentals("s")[0].bills
    cloud.account = "key-1"
    cloud.after_launch = lambda: None
    await renting.launch(ctx)
    cloud.account = "key-2"
    ctx.store.move("s", State.TERMINATING)
    with pytest.raises(SessionError, match="another key"):
        await giving_back.give_back(ctx)
    assert cloud.terminated == []


async def test_lists_that_fail_are_no_lists(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.abilities = Abilities(settle_seconds=30.0)
    cloud.after_launch = raises(ProviderFault("502"))
    cloud.on_list = raises(ProviderFault("503"))
    with pytest.raises(SessionError, match=r"does not say whether .* left an instance \(503\); it may bill"):
        await renting.launch(ctx)
    assert ctx.ledger.rentals("s")[0].bills, "shown as billing until it is known"
    cloud.on_list = lambda: None
    ctx.store.move("s", State.FAILED)
    await renting.revive(ctx)
    assert cloud.billing() == [ctx.row.instance_id]


async def test_an_error_that_made_an_instance_is_cleaned_up(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.abilities = Abilities(refusals_create=True)
    cloud.status = InstanceStatus.STOPPED
    cloud.after_launch = raises(NoCapacity("bid too low"))
    with pytest.raises(NoCapacity):
        await renting.launch(ctx)
    assert cloud.billing() == []
    (rental,) = ctx.ledger.rentals("s")
    assert (rental.outcome, rental.bills) == ("ended", False)
    assert all(i.settled for i in ctx.store.intents("s"))


async def test_gone_after_seen_needs_two_answers(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    await renting.launch(ctx)
    await renting.boot(ctx)
    kept = cloud.instances["local-i1"]

    async def unknown(_: str) -> Instance | None:
        return None

    cloud.get = unknown  # type: ignore[method-assign]
    assert await renting.look(ctx) == kept, "the list still has it"
    cloud.on_list = raises(ProviderFault("503"))
    with pytest.raises(ProviderFault):
        await renting.look(ctx)


async def test_an_instance_that_is_listed_late_boots(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.abilities = Abilities(settle_seconds=20.0, poll_seconds=2.0)
    await renting.launch(ctx)
    cloud.hidden_lists = 6
    await renting.boot(ctx)
    assert ctx.row.state is State.CONNECTING


async def test_terminating_what_was_never_listed_waits_for_it_to_appear(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.abilities = Abilities(settle_seconds=20.0, poll_seconds=2.0)
    await renting.launch(ctx)
    cloud.hidden_lists = 5
    cloud.terminate_works = False
    ctx.store.move("s", State.TERMINATING)

    def from_now_on() -> None:
        cloud.terminate_works = cloud.hidden_lists == 0

    cloud.on_list = from_now_on
    await giving_back.give_back(ctx)
    assert cloud.billing() == []
    assert len(cloud.terminated) >= 2, "it was asked again"


# --- several ---

MANY = """
name: test
resources: {provider: [one, two], gpu: ["H100:1", "A100:1"], max_price: 5.0}
runs: [{name: r, model: org/m, task: {name: word_problems}}]
"""


@pytest.fixture
def clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Context, Cloud, Cloud]:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    monkeypatch.setattr("gpusess.spec.models.PROVIDERS", {"one": "", "two": ""})
    one = Cloud("one", gpu="H100 SXM5", gpus=1, price=3.0)
    two = Cloud("two", one.clock, gpu="A100 80GB", gpus=1, price=2.0)
    two.offered.append(replace(two.offered[0], gpu="NVIDIA H100 PCIe", price=4.0, name="dear"))
    return context(tmp_path, one, two, spec=MANY), one, two


async def test_the_cheapest_is_tried_first_and_then_the_next(clouds: tuple[Context, Cloud, Cloud]) -> None:
    ctx, one, two = clouds
    two.before_launch = raises(NoCapacity("sold out"))
    await renting.launch(ctx)
    assert [r.offer.price for r in two.launches] == [2.0]
    assert (ctx.row.provider, ctx.row.price, ctx.provider.name) == ("one", 3.0, "one")
    assert one.billing() == [ctx.row.instance_id]
    assert [(r.provider, r.outcome) for r in ctx.ledger.rentals("s")] == [
        ("two", "refused: sold out"),
        ("one", "launched"),
    ]


async def test_all_refusals_are_named(clouds: tuple[Context, Cloud, Cloud]) -> None:
    ctx, one, two = clouds
    one.before_launch = raises(QuotaExceeded("no quota"))
    two.before_launch = raises(NoCapacity("sold out"))
    with pytest.raises(NoCapacity, match="no room at two cpu in here, one cpu in here, two dear in here"):
        await renting.launch(ctx)
    assert one.billing() == two.billing() == []
    assert not money.bills(ctx.ledger.rentals("s"))


async def test_a_provider_that_is_down_is_left_out(clouds: tuple[Context, Cloud, Cloud]) -> None:
    ctx, _one, two = clouds

    async def down() -> list[Any]:
        raise ProviderFault("two is in trouble (500)")

    two.offers = down  # type: ignore[method-assign]
    await renting.launch(ctx)
    assert ctx.row.provider == "one"


async def test_an_open_launch_is_looked_for_where_it_was_made(clouds: tuple[Context, Cloud, Cloud]) -> None:
    ctx, one, two = clouds
    two.after_launch = raises(Died())
    with pytest.raises(Died):
        await renting.launch(ctx)
    ctx.use("one")
    await renting.launch(ctx)
    assert (ctx.provider.name, ctx.row.instance_id) == ("two", "two-i1")
    assert one.billing() == []


async def test_a_launch_that_came_too_soon_is_tried_again(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    left = [2]

    def limited() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise RateLimited("too many")

    cloud.before_launch = limited
    await renting.launch(ctx)
    assert cloud.clock.now == 1000 + 15 + 30
    assert len({r.name for r in cloud.launches}) == 3, "a name is used once"


# --- waiting for capacity ---


async def test_waiting_ends_with_room_or_with_its_limit(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    ctx.store.update("s", options={"wait": 3600.0})
    full = [replace(cloud.offered[0], available=False)]
    free, cloud.offered = cloud.offered, full
    looks = 0
    offers = cloud.offers

    async def later() -> list[Any]:
        nonlocal looks
        looks += 1
        cloud.offered = free if looks > 10 else full
        return await offers()

    cloud.offers = later  # type: ignore[method-assign]
    await renting.launch(ctx)
    assert cloud.clock.now - 1000 == pytest.approx(300, abs=40), "every half minute"
    cloud.offers, cloud.offered = offers, full  # type: ignore[method-assign]
    ctx.store.move("s", State.FAILED)
    ctx.store.update("s", launched=None)
    with pytest.raises(
        NoCapacity, match=r"nothing is available now of cpu; waited 60 minutes for a CPU instance"
    ):
        await renting.launch(ctx)


async def test_waiting_stops_when_the_user_asks_for_something_else(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    ctx.store.update("s", options={"wait": 3600.0})
    cloud.offered = [replace(cloud.offered[0], available=False)]
    sleeps = 0
    sleep = ctx.sleep

    async def ask_at_last(seconds: float) -> None:
        nonlocal sleeps
        sleeps += 1
        if sleeps == 5:
            ctx.store.ask("s", "terminate", pull=True)
        await sleep(seconds)

    ctx.sleep = ask_at_last
    await renting.launch(ctx)
    assert ctx.row.state is State.REQUESTED
    assert cloud.launches == []


# --- clocks and limits ---


async def test_hours_of_sleep_are_no_boot_time(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.status = InstanceStatus.BOOTING
    await renting.launch(ctx)
    naps = iter([8 * 3600.0])
    sleep = ctx.sleep

    async def nap(seconds: float) -> None:
        await sleep(seconds + next(naps, 0.0))
        if cloud.clock.now > 1000 + 8 * 3600 + 60:
            made = cloud.instances["local-i1"]
            cloud.instances["local-i1"] = replace(made, status=InstanceStatus.RUNNING)

    ctx.sleep = nap
    await renting.boot(ctx)
    assert ctx.row.state is State.CONNECTING


async def test_boot_has_a_limit_and_says_that_it_bills(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    cloud.status = InstanceStatus.BOOTING
    await renting.launch(ctx)
    with pytest.raises(ProviderFault, match="still boots after 30 minutes, and it bills"):
        await renting.boot(ctx)
    assert money.bills(ctx.ledger.rentals("s"))
    assert "limit 30 min" in ctx.row.detail


async def test_the_latest_end_stands_in_name_and_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    cloud = Cloud()
    cloud.clock.now = 1_800_000_000.0
    ctx = context(tmp_path, cloud, spec=SPEC.replace("max_price: 2.0", "max_hours: 4, budget: 3.0"))
    await renting.launch(ctx)
    (request,) = cloud.launches
    end = 1_800_000_000 + 2 * 3600 + 600  # the budget lasts two hours at $1.50/h
    assert request.deadline == end
    assert request.name == f"gpusess-s-1-d{end}"
    assert request.tags["gpusess"] == "s"
    assert request.tags["gpusess-deadline"] == str(end)
    assert len(request.tags["gpusess-host"]) == 8
