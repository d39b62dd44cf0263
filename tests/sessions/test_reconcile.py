"""Unknown instances: shown, never touched on their own, and given back like any other once they were adopted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gpusess.errors import AuthRefused, ProviderFault, SessionError
from gpusess.providers.base import Instance, InstanceStatus
from gpusess.sessions import giving_back, money, reconcile, renting, strangers
from gpusess.sessions.context import Context, open_context
from gpusess.sessions.states import State
from gpusess.sessions.store import Store

from .cloud import Cloud, context, raises

RUNNING = InstanceStatus.RUNNING


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Context, Cloud]:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    cloud = Cloud()
    monkeypatch.setattr("gpusess.sessions.context.open_provider", lambda *_: cloud)
    return context(tmp_path, cloud), cloud


def put(cloud: Cloud, id: str, name: str = "", **tags: str) -> Instance:
    made = Instance(id, name, RUNNING, None, 2.0, {k.replace("_", "-"): v for k, v in tags.items()})
    cloud.instances[id] = made
    return made


async def look(ctx: Context, cloud: Cloud) -> list[strangers.Stranger]:
    await reconcile.look(ctx.store, cloud, ctx.clock)  # type: ignore[arg-type]
    return strangers.strangers(ctx.ledger)


async def test_ours_is_known_and_what_is_not_ours_is_left_out(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    await renting.launch(ctx)
    put(cloud, "web", "my-web-server", team="gpusess-fans")
    assert await look(ctx, cloud) == []


async def test_an_instance_of_another_laptop_is_shown_as_that(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    put(cloud, "i-9", "gpusess-ffff0000-1", gpusess="ffff0000", gpusess_host="deadbeef")
    put(cloud, "i-8", "gpusess-ffff0000-2")
    first, second = await look(ctx, cloud)
    assert (first.instance.id, first.elsewhere, first.what) == (
        "i-9",
        True,
        "was launched by gpusess on another laptop",
    )
    assert (second.elsewhere, second.what) == (False, "is in no ledger here")
    assert cloud.terminated == []


async def test_what_has_ended_here_and_lives_there_is_shown(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    await renting.launch(ctx)
    made = cloud.instances["local-i1"]
    ctx.store.move("s", State.TERMINATING)
    await giving_back.give_back(ctx)
    cloud.clock.now += 10
    assert await look(ctx, cloud) == []
    cloud.instances["local-i1"] = made
    (undead,) = await look(ctx, cloud)
    assert undead.what == "lives although the ledger says that it has ended"
    cloud.instances["local-i1"] = replace(made, status=InstanceStatus.TERMINATING)
    assert await look(ctx, cloud) == []


async def test_a_failed_look_keeps_what_was_seen(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    put(cloud, "i-9", "gpusess-ffff0000-1")
    await look(ctx, cloud)
    cloud.clock.now += 100
    cloud.on_list = raises(ProviderFault("503"))
    (still,) = await look(ctx, cloud)
    assert still.at == 1000.0
    (sighting,) = ctx.ledger.sightings()
    assert (sighting.at, sighting.tried, sighting.error) == (1000.0, 1100.0, "503")


@pytest.mark.parametrize("known", [False, True])
async def test_adopted_it_is_in_the_ledger_and_can_be_given_back(
    world: tuple[Context, Cloud], known: bool
) -> None:
    ctx, cloud = world
    if known:  # one of ours, wrongly held for ended
        await renting.launch(ctx)
        ctx.ledger.change(ctx.row.launch_name or "", ended=1000.0, outcome="ended")
        cloud.clock.now += 10
    else:
        put(cloud, "i-9", "gpusess-ffff0000-1")
    (found,) = await look(ctx, cloud)
    id = reconcile.adopt(ctx.store, strangers.find(ctx.ledger, found.instance.id), "teal-owl", ctx.clock)
    assert strangers.strangers(ctx.ledger) == []
    assert money.burn(ctx.ledger.rentals(id)) == found.instance.price
    row = ctx.store.session(id)
    assert (row.state, row.hint) == (State.FAILED, "`gpusess terminate teal-owl` gives it back")
    adopted = open_context(ctx.store, id)
    ctx.store.move(id, State.TERMINATING)
    await giving_back.give_back(adopted)
    assert cloud.billing() == []
    assert not money.bills(ctx.ledger.rentals())


async def test_two_clouds_may_use_one_name(world: tuple[Context, Cloud]) -> None:
    ctx, one = world
    two = Cloud("two", one.clock)
    for cloud in (one, two):
        put(cloud, f"{cloud.name}-9", "gpusess-ffff0000-1")
        await look(ctx, cloud)
    reconcile.adopt(ctx.store, strangers.find(ctx.ledger, "local-9"), "teal-owl", ctx.clock)
    (other,) = strangers.strangers(ctx.ledger)
    assert (other.instance.id, other.what) == ("two-9", "is in no ledger here")
    reconcile.adopt(ctx.store, other, "teal-wren", ctx.clock)
    assert {r.name for r in ctx.ledger.rentals()} == {"gpusess-ffff0000-1", "two-two-9"}


async def test_ignored_it_is_shown_no_more(world: tuple[Context, Cloud]) -> None:
    ctx, cloud = world
    put(cloud, "i-9", "gpusess-ffff0000-1")
    await look(ctx, cloud)
    ctx.ledger.ignore("local", "i-9", 1.0)
    assert strangers.strangers(ctx.ledger) == []
    with pytest.raises(SessionError, match="no unknown instance is 'i-9'"):
        strangers.find(ctx.ledger, "i-9")
    assert cloud.billing() == ["i-9"]


async def test_providers_without_a_key_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clouds = {"one": Cloud("one"), "two": Cloud("two")}
    put(clouds["one"], "i-9", "gpusess-ffff0000-1")

    def opened(name: str) -> Cloud:
        if name == "none":
            raise AuthRefused("no key")
        return clouds[name]

    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    monkeypatch.setattr(reconcile, "PROVIDERS", {"one": "", "none": "", "two": ""})
    monkeypatch.setattr(reconcile, "open_provider", opened)
    store = Store(tmp_path / "s.db")
    sightings = await reconcile.look_around(store)
    assert [(s.provider, len(s.instances), s.error) for s in sightings] == [("one", 1, ""), ("two", 0, "")]
    with pytest.raises(AuthRefused):
        await reconcile.look_around(store, ["none"])
