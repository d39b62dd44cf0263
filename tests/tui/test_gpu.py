"""The GPU screen: a row for each, its charts, the grid, gaps, old values, and machines without a GPU."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from gpusess.analysis.run_state import Sample
from gpusess.tui.panes.gpu import held_down, readings
from gpusess.tui.panes.gpu_charts import chart, curve, figures
from gpusess.tui.screens.gpu import GpuScreen
from gpusess.tui.spans import plain, width
from gpusess.tui.widgets.line_chart import Look
from gpusess.tui.widgets.row_table import RowTable

from . import world as worlds
from .conftest import MakeApp
from .test_app import SMALL, WIDE, keys, screen_of, settled, text

LARGE = (200, 60)


def sample(ts: float, *gpus: dict[str, Any]) -> Sample:
    return Sample(ts, 25.0, 41 << 30, 225 << 30, 412 << 30, 0, gpus)


def gpu(index: int = 0, **values: Any) -> dict[str, Any]:
    return {
        "index": index,
        "name": "H100",
        "util": 90.0,
        "mem_used": 66 << 30,
        "mem_total": 80 << 30,
        **values,
    }


async def test_the_row_of_a_gpu_has_all_that_is_measured(make_app: MakeApp) -> None:
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "7")
        assert app.current_mode == "gpu"
        row = text(app, "#gpus")
        for words in ("0  H100", "91%", "66.3 of 80.0 GiB", "575 of 700 W", "64°C", "1,800 MHz"):
            assert words in row
        charts = text(app, "#gpu-charts")
        for words in ("utilisation", "power  575 of 700 W", "temperature", "clock  1,800 MHz"):
            assert words in charts
        assert "heartbeat 5 s ago" in text(app, "#gpu-head")


async def test_the_charts_follow_the_cursor(make_app: MakeApp, world: worlds.World) -> None:
    worlds.many_gpus(world)
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "7", "G")
        screen = screen_of(app)
        assert isinstance(screen, GpuScreen)
        assert (screen.chosen, screen.query_one(RowTable).count) == (7, 8)
        assert "heat, its power limit" in text(app, "#gpu-charts")
        assert "heat" in text(app, "#gpus").splitlines()[-1]


async def test_eight_gpus_are_a_grid_in_a_large_terminal_and_a_table_elsewhere(
    make_app: MakeApp, world: worlds.World
) -> None:
    worlds.many_gpus(world)
    app = make_app(session_id="s-amber")
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot)
        await keys(pilot, "7")
        grid = text(app, "#gpu-grid").splitlines()
        assert [grid[0].count("GPU"), sum("GPU" in line for line in grid)] == [4, 2]
        await keys(pilot, "v")
        assert screen_of(app).query_one("#gpu-grid").has_class("-none")
        await keys(pilot, "v")
        assert not screen_of(app).query_one("#gpu-grid").has_class("-none")
        await pilot.resize_terminal(*SMALL)
        await keys(pilot, "v")
        await pilot.pause()
        assert len(text(app, "#gpus").splitlines()) == 9


async def test_a_machine_without_a_gpu_says_so(make_app: MakeApp, world: worlds.World) -> None:
    worlds.no_gpu(world)
    app = make_app(session_id="s-amber")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "7")
        assert "CPU (no GPU is reported)" in text(app, "#gpus")
        assert "41.0 of 225 GiB" in text(app, "#gpus")
        assert "clock" not in text(app, "#gpu-charts")


async def test_old_values_are_dim_and_say_their_age(make_app: MakeApp, world: worlds.World) -> None:
    app = make_app(session_id="s-amber")
    world.clock.now += 25
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "7")
        assert "? 30 s old: no heartbeat, it may bill on" in text(app, "#gpu-head")
        table = screen_of(app).query_one(RowTable)
        assert {ink for cell in table._rows(0) for _, ink in cell} <= {"dim", "faint"}


@pytest.mark.parametrize(
    ("session", "words"), [("s-dusk", "begins with its first run"), ("s-gale", "as it was")]
)
async def test_sessions_without_a_heartbeat(make_app: MakeApp, session: str, words: str) -> None:
    app = make_app(session_id=session)
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await keys(pilot, "7")
        assert words in text(app, "#gpu-charts") + text(app, "#gpu-head")


def test_records_of_older_agents_show_what_they_have() -> None:
    samples = [sample(1.0, gpu()), sample(3.0, gpu(util=None))]
    (reading,) = readings(samples)
    assert [figure.name for figure in figures(reading)] == ["utilisation", "memory"]
    assert plain(held_down(reading.newest)) == "not known"
    assert plain(held_down({"throttle": []})) == "–"


def test_missing_heartbeats_are_a_gap() -> None:
    samples = [sample(0.0, gpu()), sample(2.0, gpu()), sample(60.0, gpu()), sample(62.0), sample(64.0, gpu())]
    (reading,) = readings(samples)
    values = [y for _, y, _, _ in curve(figures(reading)[0], reading, samples)]
    assert [isnan(y) for y in values] == [False, False, True, False, True, False]


@pytest.mark.parametrize("size", [(20, 4), (40, 7), (90, 12)])
@pytest.mark.parametrize("braille", [True, False])
def test_a_chart_keeps_to_its_room(size: tuple[int, int], braille: bool) -> None:
    samples = [sample(float(i * 2), gpu(power=300.0 + i, throttle=["brake"], clock=900)) for i in range(100)]
    (reading,) = readings(samples)
    for figure in figures(reading):
        lines = chart(figure, reading, samples, *size, Look("off", braille=braille))
        assert len(lines) <= size[1]
        assert max(width(line) for line in lines) <= size[0]
