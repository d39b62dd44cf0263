"""What is asked of a running training is passed on beside whatever follows it, and ends nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpusess.analysis.training_state import Steer, TrainState
from gpusess.errors import Unreachable
from gpusess.sessions import asks, steering
from gpusess.sessions.intents import DriverIntents
from gpusess.sessions.steering import pass_on
from gpusess.sessions.store import Store

NOW = 1_000_000.0


class Agent:
    """Takes asks, or fails."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []
        self.broken = False
        self.refuses = ""

    async def steer(self, _run: str, ask: dict[str, Any]) -> str:
        if self.broken:
            raise Unreachable("the link broke", "wait")
        self.given.append(ask)
        return self.refuses


class World:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gpusess.sessions.start.ensure_driver", lambda *_, **__: None)
        self.now = NOW
        self.store = Store(folder / "s.db", lambda: self.now)
        options: dict[str, Any] = {}
        self.store.add_session(
            id="s", name="n", job="j", provider="local", spec="", spec_path="x", options=options,
            runs=[("s-sft", "sft")],
        )  # fmt: skip
        self.store.update_run("s-sft", status="running")
        self.agent = Agent()
        self.live: object | None = object()
        self.intents = DriverIntents(self.store)

    async def pass_on(self) -> None:
        async def agent() -> Agent:
            return self.agent

        ctx: Any = SimpleNamespace(store=self.store, id="s", clock=lambda: self.now)
        link: Any = SimpleNamespace(agent=agent, live=self.live)
        await pass_on(ctx, link)

    @property
    def waiting(self) -> int:
        return len(self.store.open_requests("s"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


async def test_an_ask_is_passed_on_with_its_id_and_then_taken(world: World) -> None:
    world.intents.steer("s", "s-sft", {"action": "rollback", "before": 40})
    await world.pass_on()
    await world.pass_on()
    (given,) = world.agent.given
    assert (given["action"], given["before"], given["lr"]) == ("rollback", 40, 0.5)
    assert len(given["id"]) == 12
    assert not world.waiting


async def test_a_broken_link_is_tried_again_with_the_same_id(world: World) -> None:
    world.intents.steer("s", "s-sft", {"action": "pause"})
    world.agent.broken = True
    await world.pass_on()
    world.live = None
    await world.pass_on()
    assert world.waiting == 1
    world.live, world.agent.broken = object(), False
    await world.pass_on()
    assert len(world.agent.given) == 1
    assert not world.waiting


@pytest.mark.parametrize("why", ["ended", "late", "refused"])
async def test_what_cannot_be_done_any_more_is_dropped_with_a_word(
    world: World, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.intents.steer("s", "s-sft", {"action": "pause"})
    if why == "ended":
        world.store.update_run("s-sft", status="complete")
    elif why == "late":
        world.now += steering.PATIENCE + 1
    else:
        world.agent.refuses = "the run does not run"
    await world.pass_on()
    assert not world.waiting
    assert "asked to pause" in caplog.text


def shown(world: World, *done: str) -> list[asks.Asked]:
    """What any cockpit would show of the run, where the journal holds that these were done."""
    train = TrainState(steers=[Steer(id, 9, "pause", None, 1.0, None) for id in done])
    return asks.not_done(
        world.store.requests("steer", "stop_run"), world.store.runs("s")[0], train, world.now
    )


async def test_an_ask_is_shown_until_it_is_done(world: World) -> None:
    assert shown(world) == []
    world.intents.steer("s", "s-sft", {"action": "rollback", "before": 40})
    (asked,) = shown(world)
    assert asked.what == "go back to step 40 or earlier, with the learning rate × 0.5"
    assert (asked.at, asked.stands) == (NOW, "it waits for the link")
    await world.pass_on()
    assert [one.stands for one in shown(world)] == ["it is done at the end of a step"]
    assert shown(world, world.agent.given[0]["id"]) == []
    world.store.update_run("s-sft", status="complete")
    assert shown(world) == []


async def test_what_is_dropped_is_told_for_a_while(world: World) -> None:
    world.intents.steer("s", "s-sft", {"action": "pause"})
    world.agent.refuses = "the run does not run"
    await world.pass_on()
    assert [one.stands for one in shown(world)] == ["not done: the run does not run"]
    world.now += asks.NOT_DONE_SHOWN + 1
    assert shown(world) == []


async def test_a_supervisor_that_starts_anew_has_forgotten_what_was_asked(world: World) -> None:
    world.intents.steer("s", "s-sft", {"action": "pause"})
    await world.pass_on()
    world.intents.stop_run("s", "s-sft")
    world.intents.steer("s", "s-sft", {"action": "ignore"})
    assert [one.action for one in shown(world)] == ["pause", "stop", "ignore"]
    (stop,) = [request for request in world.store.open_requests("s") if request.verb == asks.STOP_RUN]
    world.store.take_request(stop.id)
    steering.forget(world.store, "s", "s-sft")
    pause, ignore = shown(world)
    assert "started anew before it came to that" in pause.stands
    assert ignore.stands == "it waits for the link", "it was not given to the one that died"
    await world.pass_on()
    assert [ask["action"] for ask in world.agent.given] == ["pause", "ignore"]


async def test_a_wrong_ask_is_not_even_written_down(world: World) -> None:
    with pytest.raises(ValueError, match="action"):
        world.intents.steer("s", "s-sft", {"action": "explode"})
    assert not world.waiting
