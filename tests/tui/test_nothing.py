"""Where there is nothing to draw: every screen says why and what leads on, and shows no key that does nothing."""

from __future__ import annotations

import pytest

from gpusess.sessions.states import State
from gpusess.tui.app import CockpitApp
from gpusess.tui.panes.cost import row_cells
from gpusess.tui.panes.nothing import no_results
from gpusess.tui.panes.progress import more_line, progress_line, waiting_lines
from gpusess.tui.settings import TuiSettings
from gpusess.tui.spans import Line, plain, width

from . import trainings
from . import world as worlds
from .conftest import MakeApp
from .test_app import SMALL, WIDE, keys, screen_of, settled, text

GLOBAL = {":", "?", "q"}
"""What can always be done; `u` of Cost asks the providers, and `n` of Fleet launches."""


def words(lines: list[Line]) -> str:
    return " ".join(" ".join(plain(line) for line in lines).split())


def offered(app: CockpitApp) -> set[str]:
    keybar = screen_of(app).query_one("#keybar")
    return {key for key, _, _ in keybar._parts()}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("key", "pane", "said", "more"),
    [
        ("1", "#sessions", "launches a session", {"n"}),
        ("2", "#way", "No session yet", set()),
        ("3", "#chart", "No session yet", set()),
        ("4", "#health", "No session yet", set()),
        ("6", "#log", "", set()),
        ("7", "#gpu-charts", "No session yet", set()),
        ("8", "#sums", "Nothing was spent", {"u"}),
        ("c", "#curves", "There is no run here", set()),
    ],
)
async def test_without_a_session(
    empty_world: worlds.World, intents: worlds.FakeIntents, key: str, pane: str, said: str, more: set[str]
) -> None:
    app = CockpitApp(empty_world.board(), intents, settings=TuiSettings(theme="dark"))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await keys(pilot, key)
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert said in text(app, pane)
        assert offered(app) == GLOBAL | more


async def test_what_is_waited_for_has_its_time_what_is_usual_and_its_price(
    make_app: MakeApp, world: worlds.World
) -> None:
    worlds.older(world)
    world.store.update("s-dusk", detail="runpod says: the image is pulled")
    app = make_app(session_id="s-dusk")
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        assert "booting 1:12   usually 1:25 (1 other)   bills $2.58/h" in text(app, "#header")
        said = text(app, "#chart").replace("\n", " ")
        assert "runpod says: the image is pulled" in said
        assert "mmlu-pro begins when the instance is ready (2 the way, 6 the log)" in said
        await keys(pilot, "1")
        assert "usual 1:25" in text(app, "#sessions")
        assert "booting 1:12   usually 1:25" in text(app, "#preview")


def test_a_session_that_ends_says_why(world: worlds.World) -> None:
    world.store.move("s-amber", State.DRAINING, "the budget of $4.00 is spent")
    world.clock.now += 12
    session = world.board().refresh().session("s-amber")
    assert session
    assert words(waiting_lines(session, {}, 80)) == "pulling 0:12 bills $2.49/h the budget of $4.00 is spent"


def test_a_run_without_results_says_why(world: worlds.World) -> None:
    fleet = world.board().refresh()
    frost = fleet.session("s-frost")
    assert "the session has failed (2 the way, 6 the log)" in words(no_results(frost, 80))
    trainings.collapsing(world)
    ember = world.board().refresh().session("s-ember")
    assert words(no_results(ember, 80)) == "No evaluation so far (4 the curves)."


@pytest.mark.parametrize("cells", range(30, 121, 7))
def test_no_number_stands_without_its_unit(world: worlds.World, cells: int) -> None:
    trainings.collapsing(world)
    for id, unit in (("s-amber", "results/s"), ("s-ember", "s/step")):
        session = world.board().refresh().session(id)
        assert session
        assert session.run
        line = progress_line(session, session.run, cells)
        assert width(line) <= max(cells, 40)
        assert plain(line).rstrip()[-1] not in "0123456789" or "ETA" in plain(line)[-12:]
        assert unit in plain(line) or cells < 100


def test_one_is_not_many() -> None:
    assert plain(more_line(1, "run")) == "1 more run (tab to here, z zooms)"
    assert plain(more_line(2, "category", "categories")).startswith("2 more categories")


def test_the_share_is_one_of_the_whole(world: worlds.World) -> None:
    from gpusess.sessions import spending

    rows = spending.sums(world.board().refresh(), "session")
    total = sum(row.spent for row in rows)
    shares = [plain(row_cells(row, "session", total, None)[2]).split()[-1] for row in rows]
    assert shares == ["47%", "46%", "3%", "3%"]
