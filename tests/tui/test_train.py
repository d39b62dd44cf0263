"""The Train screen: its words and curves at several sizes, and each thing that can be asked of a training."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from gpusess.analysis.run_state import RunState, fold
from gpusess.tui.app import CockpitApp
from gpusess.tui.dialogs import Dialog
from gpusess.tui.panes.train_curves import (
    averaged,
    curve_of,
    names_of,
    scale_of,
    smoothed,
    thinned,
    tick_text,
)
from gpusess.tui.panes.train_tiles import Tile
from gpusess.tui.screens.train import TrainScreen
from gpusess.tui.spans import plain

from . import trainings
from . import world as worlds
from .conftest import MakeApp
from .test_app import keys, screen_of, settled, text

SMALL, WIDE, LARGE = (80, 24), (120, 40), (200, 60)


def tiles(app: CockpitApp) -> list[Tile]:
    return [tile for tile in screen_of(app).query(Tile) if tile.display and tile.region]


async def opened(pilot: Pilot[Any], *more: str) -> None:
    await settled(pilot)
    await keys(pilot, "4", *more)
    await settled(pilot)


async def test_a_collapse_is_said_in_words_borders_and_titles(world: worlds.World, make_app: MakeApp) -> None:
    app = make_app(session_id=trainings.collapsing(world))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        health = text(app, "#health")
        assert "COLLAPSE (a acts) at step 169, kl: the KL divergence from the reference is" in health
        assert "since step 164: entropy" in health
        assert "171 / 400" in health
        assert "lr 2e-05" in health
        assert "9 s/step" in health
        assert "step-000150 ▲ not at home" in health
        assert "0.4 … 1.6" in health
        titles = {str(tile.border_title).split()[0]: str(tile.border_title) for tile in tiles(app)}
        assert "▲ > 10 for 5 steps" in titles["KL"]
        assert "✓ ≤" in titles["grad"]
        alarmed = {str(tile.border_title).split()[0] for tile in tiles(app) if tile.has_class("-alarm")}
        assert alarmed == {"reward", "KL", "ratio", "entropy"}
        assert tiles(app)[0].styles.border_top[0] == "heavy", "not by colour alone"
        assert "collapse at step 169" in text(app, "#alarms") or "+1 more" in text(app, "#alarms")


@pytest.mark.parametrize(("size", "count"), [(WIDE, 6), (LARGE, 12)])
async def test_as_many_tiles_as_there_is_room_for(
    world: worlds.World, make_app: MakeApp, size: tuple[int, int], count: int
) -> None:
    app = make_app(session_id=trainings.collapsing(world))
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        assert len(tiles(app)) == count
        assert all(tile.size.height >= 6 for tile in tiles(app))
        first = [str(tile.border_title).split()[0] for tile in tiles(app)]
        await keys(pilot, "n")
        second = [str(tile.border_title).split()[0] for tile in tiles(app)]
        assert not set(first) & set(second) - {"reward"}
        for _ in range(5):
            await keys(pilot, "n")
        assert screen_of(app).first in range(0, 16, count)  # type: ignore[attr-defined]


async def test_in_a_small_terminal_each_figure_is_a_row(world: worlds.World, make_app: MakeApp) -> None:
    app = make_app(session_id=trainings.collapsing(world))
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot)
        assert not tiles(app)
        rows = text(app, "#figures").splitlines()
        assert rows[0].split()[:2] == ["▲", "reward"]
        assert "▲ > 10 for 5 steps" in rows[1]
        assert "grad norm" in "\n".join(rows)
        assert max(map(len, rows)) <= 80
        before = text(app, "#figures")
        await keys(pilot, "m")
        assert text(app, "#figures") != before


async def test_rows_as_the_model_sees_them_and_a_training_that_is_complete(
    world: worlds.World, make_app: MakeApp
) -> None:
    app = make_app(session_id=trainings.supervised(world))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        assert "no rule of the collapse guard is broken" in text(app, "#health")
        assert "3 of 10 tokens count" in text(app, "#samples")
        assert [str(tile.border_title).split()[0] for tile in tiles(app)][:2] == ["loss", "accuracy"]
        await keys(pilot, "a")
        assert not isinstance(app.screen, Dialog), "what is over cannot be steered"


async def test_what_is_no_training_is_said(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        said = text(app, "#health")
        assert "This screen shows runs whose spec has a section `train`" in said
        assert "3 the run" in said
        assert "Act" not in text(app, "#keybar"), "there is nothing to act on"


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("p", ("steer", "s-ember", "s-ember-0", {"action": "pause"})),
        ("b", ("steer", "s-ember", "s-ember-0", {"action": "rollback", "lr": 0.5, "before": 161})),
        ("i", ("steer", "s-ember", "s-ember-0", {"action": "ignore", "steps": 50})),
        ("s", ("stop_run", "s-ember", "s-ember-0")),
        ("n", None),
    ],
)
async def test_each_action_is_asked_of_the_session(
    world: worlds.World, make_app: MakeApp, intents: worlds.FakeIntents, key: str, asked: Any
) -> None:
    app = make_app(session_id=trainings.collapsing(world))
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, "a")
        assert isinstance(app.screen, Dialog)
        assert app.screen.chosen == 0
        await keys(pilot, key)
        assert intents.asked == ([asked] if asked else [])


async def test_what_was_asked_elsewhere_is_shown_until_it_is_done(
    world: worlds.World, make_app: MakeApp
) -> None:
    app = make_app(session_id=trainings.collapsing(world))
    ask = {"id": "a1", "action": "ignore", "steps": 50}
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        assert "asked to" not in text(app, "#health")
        world.store.ask("s-ember", "steer", run="s-ember-0", ask=ask)
        app.refresh_board()
        await settled(pilot)
        assert "asked to ignore alarms for 50 steps, 0:00 ago: it waits for the link" in text(app, "#health")
        (request,) = world.store.open_requests("s-ember")
        world.store.take_request(request.id)
        app.refresh_board()
        await settled(pilot)
        assert "ago: it is done at the end of a step" in text(app, "#health")
        await keys(pilot, "3")
        await settled(pilot)
        assert "asked to ignore alarms" in text(app, "#header")
        await keys(pilot, "4", "a")
        assert isinstance(app.screen, Dialog)
        assert "asked to ignore alarms for 50 steps" in "\n".join(map(plain, app.screen._pane.content))
        await keys(pilot, "n")
        done = {"kind": "steered", "id": "a1", "step": 172, "action": "ignore", "until": 222}
        world.write("s-ember", "s-ember-0", "journal.jsonl", [(0, done)])
        app.refresh_board()
        await settled(pilot)
        assert "asked to" not in text(app, "#health")
        assert "alarms are ignored up to step 222, as asked at step 172" in text(app, "#health")


async def test_a_checkpoint_at_home_is_said(world: worlds.World, make_app: MakeApp) -> None:
    app = make_app(session_id=trainings.collapsing(world))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        screen = screen_of(app)
        assert isinstance(screen, TrainScreen)
        assert screen._mirror is not None
        screen._found_home(screen._mirror, {"step-000125"})
        assert "step-000125 is" in text(app, "#health")
        screen._found_home(screen._mirror, {"step-000125", "step-000150"})
        assert "step-000150 ✓ at home" in text(app, "#health")


def test_curves_have_gaps_and_scales_that_show_everything() -> None:
    state = RunState()
    for i, (_, record) in enumerate(trainings.grpo(400, 171, 150, 0.0)):
        fold(state, {**record, "ts": float(i)})
    fold(state, {"kind": "step", "step": 172, "tokens": 0, "figures": {"loss": None}, "ts": 999.0})
    assert names_of(state)[:7] == ["reward", "loss", "kl", "ratio", "grad_norm", "entropy", "accuracy"]
    for name in names_of(state):
        curve = curve_of(state, name, [])
        scale = scale_of(curve, 400, None)
        values = [y for _, y, _, _ in curve.points if y == y]
        assert scale.low <= min(values)
        assert max(values) <= scale.high
        assert scale_of(curve, 400, scale) == scale
    loss = curve_of(state, "loss", [])
    assert loss.now is None
    assert loss.alarmed
    assert len(smoothed(loss.points)) == len(loss.points)
    assert smoothed(loss.points)[-1][1] != smoothed(loss.points)[-1][1]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (1500, "1500"),
        (2e-5, "2e-5"),
        (-40, "-40"),
        (-30000, "-3e4"),
        (1.5e-5, "15e-6"),
        (9.9999999e-4, "1e-3"),
        (150_000, "15e4"),
        (-0.0015, ""),
        (0.125, "0.125"),
    ],
)
def test_labels_of_the_axis_have_five_cells(value: float, shown: str) -> None:
    assert tick_text(value) == shown
    assert len(shown) <= 5


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("which", ["collapse", "sft"])
def test_pictures(
    snap_compare: Any, world: worlds.World, make_app: MakeApp, which: str, size: tuple[int, int]
) -> None:
    session = trainings.collapsing(world) if which == "collapse" else trainings.supervised(world)
    assert snap_compare(make_app(session_id=session), terminal_size=size, run_before=opened)


def test_picture_in_plain_characters(snap_compare: Any, world: worlds.World, make_app: MakeApp) -> None:
    app = make_app(session_id=trainings.collapsing(world), ascii=True)
    assert snap_compare(app, terminal_size=WIDE, run_before=opened)


def test_of_a_long_curve_no_spike_and_no_gap_is_lost() -> None:
    values: list[tuple[int, float | None]] = [(i, float(i % 7)) for i in range(20_000)]
    values[7777] = (7777, 99.0)
    values[9999] = (9999, None)
    found = thinned(values)
    assert len(found) <= 1100
    assert {values[7777], values[9999], values[-1]} <= set(found)
    assert [step for step, _ in found] == sorted(step for step, _ in found)
    assert thinned(values[:500]) == averaged(values[:500]) == values[:500]
    means = averaged(values)
    assert len(means) <= 1024
    assert sum(v is None for _, v in means) == 1
    assert means[0][1] == pytest.approx(3.0, abs=0.5)
