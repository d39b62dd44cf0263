"""A run with an expectation, as its worker's own process: the alarm in the journal, the pause, the going on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from remote_agent.protocol import Expectation

from .conftest import Run, make_run

NEAR_ZERO = {"low": 0.0, "high": 0.2, "says": "the spec"}
"""Two of three answers of the recorded run are right."""


def expecting(folder: Path, **expect: Any) -> Run:
    run = make_run(folder / "r-1", samples=96, batch=4)
    run.order = run.order.model_copy(update={"expect": Expectation(**expect)})
    run.save()
    return run


def work(run: Run) -> int:
    process = run.start()
    process.communicate(timeout=60)
    return process.returncode


def test_an_alarm_stands_in_the_journal_where_the_band_left_the_expectation(tmp_path: Path) -> None:
    run = expecting(tmp_path, **NEAR_ZERO)
    assert work(run) == 0
    (alarm,) = run.records("alarm")
    assert alarm["band"][0] > 0.2
    assert alarm["expected"] == [0.0, 0.2]
    assert 0 < alarm["results"] < 96
    assert alarm["causes"]
    assert not alarm["paused"]
    (planned,) = run.records("planned")
    assert planned["expect"]["says"] == "the spec"
    assert run.records("finished")[-1]["outcome"] == "complete"
    assert len(run.keys()) == 96


def test_what_is_as_expected_raises_no_alarm(tmp_path: Path) -> None:
    run = expecting(tmp_path, low=0.6, high=0.7)
    assert work(run) == 0
    assert run.records("alarm") == []


def test_a_pausing_run_stops_and_resuming_it_goes_on_without_another_alarm(tmp_path: Path) -> None:
    run = expecting(tmp_path, pause=True, **NEAR_ZERO)
    assert work(run) == 4
    done = len(run.keys())
    assert 0 < done < 96
    (finished,) = run.records("finished")
    assert finished["outcome"] == "stopped"
    assert finished["message"].startswith("stopped at the alarm: the accuracy is")
    assert work(run) == 0
    assert len(run.keys()) == len(set(run.keys())) == 96
    assert len(run.records("alarm")) == 1
    assert run.records("finished")[-1]["outcome"] == "complete"


def test_killed_and_resumed_the_alarm_comes_from_all_results(tmp_path: Path) -> None:
    """The second attempt counts what the first has recorded."""
    run = expecting(tmp_path, **NEAR_ZERO)
    run.order = run.order.model_copy(update={"engine": run.order.engine.model_copy(update={"pace": 0.3})})
    run.save()
    process = run.start()
    deadline = time.monotonic() + 30
    while len(run.keys()) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert run.records("alarm") == []
    first = len(run.keys())
    run.order = run.order.model_copy(update={"engine": run.order.engine.model_copy(update={"pace": 0.0})})
    run.save()
    assert work(run) == 0
    (alarm,) = run.records("alarm")
    assert alarm["results"] > first


def test_the_state_at_home_shows_the_alarm_and_how_it_ended(tmp_path: Path) -> None:
    from gpusess.analysis.run_state import RunState, fold
    from gpusess.sessions.summary import alarm_lines

    run = expecting(tmp_path, pause=True, **NEAR_ZERO)
    work(run)
    state = RunState()
    for record in run.records():
        fold(state, record)
    assert state.outcome == "stopped"
    assert state.expected is not None
    first, *causes = alarm_lines(state)
    assert "expected was 0.0 to 20.0 % (the spec)" in first
    assert causes[0].startswith("maybe: ")
