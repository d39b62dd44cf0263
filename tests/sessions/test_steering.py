"""What is asked of a running training is passed on beside whatever follows it, and ends nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpusess.errors import Unreachable
from gpusess.sessions import steering
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


async def test_a_wrong_ask_is_not_even_written_down(world: World) -> None:
    with pytest.raises(ValueError, match="action"):
        world.intents.steer("s", "s-sft", {"action": "explode"})
    assert not world.waiting
