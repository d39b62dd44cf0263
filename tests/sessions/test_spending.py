"""Sums of money, projections and medians over a fleet that is made here: pure arithmetic, held against the
ledger's own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusess.analysis.run_state import RunState
from gpusess.providers.base import Instance, InstanceStatus
from gpusess.sessions import money, spending
from gpusess.sessions.board import FleetView, RunView, SessionView, midnight
from gpusess.sessions.ledger import Rental, Sighting
from gpusess.sessions.phases import phases, usual
from gpusess.sessions.states import State
from gpusess.sessions.store import RunRow, SessionRow, Transition

NOW = 1_773_500_966.0
HOUR = 3600.0


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def rental(session: str, ago: float, hours: float | None, price: float, **more: object) -> Rental:
    asked = NOW - ago * HOUR
    ended = None if hours is None else asked + hours * HOUR
    values = {"outcome": "launched" if hours is None else "ended", **more}
    return Rental(f"{session}-{ago}", session, "lambda", "", asked, price, ended=ended, **values)  # type: ignore[arg-type]


def view(
    id: str, *rentals: Rental, moves: list[tuple[State, float]] | None = None, job: str = "j"
) -> SessionView:
    row = SessionRow(
        id, f"name-{id}", job, "lambda", "", "", NOW, State.RUNNING, NOW, "", None, None,
        {"name": "gpu_1x_h100"}, 2.0, None, None, None, "", "", {},
    )  # fmt: skip
    steps = [Transition(id, NOW - ago, state, "") for state, ago in moves or []]
    if steps:
        row.state = steps[-1].state
    return SessionView(row, steps, [], True, NOW, list(rentals))


def fleet(*views: SessionView, **more: object) -> FleetView:
    rentals = [r for v in views for r in v.rentals]
    today = money.spent(rentals, NOW, since=midnight(NOW))
    return FleetView(list(views), NOW, money.burn(rentals), today, **more)  # type: ignore[arg-type]


def test_sums_by_session_provider_day_and_instance() -> None:
    seen = fleet(
        view("a", rental("a", 60, 2, 2.0), rental("a", 2, None, 1.5)),
        view("b", rental("b", 50, 1, 3.0), rental("b", 49, 1, 9.0, outcome="refused: full")),
    )
    by_session = {row.name: (row.spent, row.burn, row.instances) for row in spending.sums(seen, "session")}
    assert by_session == {"name-a": (pytest.approx(7.0), 1.5, 2), "name-b": (pytest.approx(3.0), 0.0, 1)}
    assert [row.session for row in spending.sums(seen, "session")] == ["a", "b"]
    (lambda_,) = spending.sums(seen, "provider")
    assert (lambda_.spent, lambda_.burn, lambda_.instances) == (pytest.approx(10.0), 1.5, 3)
    assert [row.name for row in spending.sums(seen, "day")] == ["2026-03-12", "2026-03-14"]
    assert sum(row.spent for row in spending.sums(seen, "day", spending.days_back(NOW, 1))) == pytest.approx(
        3.0
    )
    assert {row.name: row.spent for row in spending.sums(seen, "instance")}["b-49"] == 0.0


@given(
    st.lists(
        st.tuples(st.floats(0, 80), st.one_of(st.none(), st.floats(0, 70)), st.floats(0, 50)),
        max_size=6,
    )
)
def test_every_view_of_the_money_has_the_same_sum(lives: list[tuple[float, float | None, float]]) -> None:
    views = [
        view(str(i), rental(str(i), ago, hours if hours is None else min(hours, ago), price))
        for i, (ago, hours, price) in enumerate(lives)
    ]
    seen = fleet(*views)
    total = sum(v.spent for v in views)
    for by in ("session", "provider", "day", "instance"):
        assert sum(row.spent for row in spending.sums(seen, by)) == pytest.approx(total, abs=1e-6)  # type: ignore[arg-type]
    points = spending.today(seen, 25)
    assert points[-1][1] == pytest.approx(seen.spent_today, abs=1e-6)
    assert all(before[1] <= after[1] + 1e-9 for before, after in itertools.pairwise(points))
    assert spending.by_midnight(seen) >= seen.spent_today


def test_by_midnight_goes_on_at_the_present_rate() -> None:
    seen = fleet(view("a", rental("a", 1, None, 2.0)))
    left = (spending.next_midnight(NOW) - NOW) / HOUR
    assert 8 < left < 9
    assert spending.by_midnight(seen) == pytest.approx(2.0 + 2.0 * left)
    assert spending.spent_at(4.0, 2.0, NOW) == NOW + 2 * HOUR
    assert spending.spent_at(4.0, 0.0, NOW) is None
    assert spending.spent_at(-1.0, 2.0, NOW) == NOW


def _with_results(done: int, candidates: int) -> SessionView:
    state = RunState(done=done, candidates=candidates)
    run = RunView(RunRow("r", "a", 0, "r", "running", "", NOW, None), state, "", Path())
    return replace(view("a", rental("a", 2, None, 1.5)), runs=[run])


def test_the_price_of_a_thousand_samples_counts_samples_not_answers() -> None:
    assert spending.per_thousand(_with_results(600, 1)) == pytest.approx(5.0)
    assert spending.per_thousand(_with_results(600, 4)) == pytest.approx(20.0)
    assert spending.per_thousand(_with_results(0, 1)) is None


def _listed(price: float, status: InstanceStatus = InstanceStatus.RUNNING, at: float = NOW - 60) -> Sighting:
    there = [Instance("i-1", "n", status, None, price)]
    return Sighting("lambda", "", at, at, "", there)


def test_the_providers_figure_is_held_against_the_ledgers_of_that_moment() -> None:
    session = view("a", rental("a", 2, None, 1.5))
    (same,) = spending.listed(fleet(session, sightings=[_listed(1.5)]))
    assert (same.instances, same.theirs, same.ours, same.differs) == (1, 1.5, 1.5, False)
    (more,) = spending.listed(fleet(session, sightings=[_listed(4.0)]))
    assert more.differs
    (gone,) = spending.listed(fleet(session, sightings=[_listed(1.5, InstanceStatus.TERMINATED)]))
    assert (gone.theirs, gone.differs) == (0, True)
    (before,) = spending.listed(fleet(session, sightings=[_listed(0.0, at=NOW - 3 * HOUR)]))
    assert not before.differs, "it was listed before this instance was asked for"
    never = replace(_listed(1.5), at=0.0, error="no answer")
    assert not spending.listed(fleet(session, sightings=[never]))[0].differs


S = State
WAY = [(S.REQUESTED, 600), (S.LAUNCHING, 599), (S.BOOTING, 580), (S.CONNECTING, 480), (S.PREPARING, 470)]


def _way(boot: float) -> list[tuple[State, float]]:
    return [*WAY[:3], (S.CONNECTING, 580 - boot), (S.PREPARING, 100), (S.READY, 50), (S.TERMINATING, 20)]


def test_usual_times_are_medians_of_like_sessions_only() -> None:
    me = view("me", moves=WAY[:3])
    others = [view("a", moves=_way(60)), view("b", moves=_way(100)), view("c", moves=_way(300))]
    other_type = view("d", moves=_way(5))
    other_type.row.offer = {"name": "gpu_8x_a100"}
    failed = view("e", moves=[*WAY[:3], (S.FAILED, 570)])
    found = usual(me, [me, *others, other_type, failed])
    assert found["boot"] == (100.0, 3)
    assert found["launch"] == (20.0, 4)
    assert usual(me, [me]) == {}


def test_the_length_of_a_run_is_compared_within_a_job() -> None:
    me = view("me", moves=WAY)
    assert "run" in usual(me, [view("a", moves=_way(60))])
    assert "run" not in usual(me, [view("a", moves=_way(60), job="another")])


def test_a_phase_that_was_gone_through_again_says_so() -> None:
    again = view("a", moves=[*WAY, (S.CONNECTING, 300), (S.PREPARING, 290)])
    found = {phase.name: phase for phase in phases(again)}
    assert (found["connect"].times, found["connect"].seconds) == (2, 20.0)
    assert (found["prepare"].times, found["prepare"].mark) == (2, "present")
    assert found["boot"].began == NOW - 580
    relaunched = view("b", moves=[*WAY[:2], (S.FAILED, 500), (S.LAUNCHING, 400)])
    launch = phases(relaunched)[0]
    assert (launch.times, launch.mark, launch.seconds) == (2, "present", 500.0)
