"""What the cockpit and the summaries say of an alarm, a forced run and several answers a sample."""

from __future__ import annotations

from typing import Any

from gpusess.analysis.run_state import RunState, fold
from gpusess.sessions.board import SessionView
from gpusess.sessions.summary import best_text, run_facts, summary_lines
from gpusess.tui import status
from gpusess.tui.panes.figures import now_lines
from gpusess.tui.panes.progress import trouble_lines
from gpusess.tui.spans import plain

from .world import World

ALARM = {
    "kind": "alarm", "message": "the accuracy is 55.0 to 66.0 % after 320 results, expected was 80 % (the spec)",
    "expected": [0.8, 0.8], "band": [0.55, 0.66], "results": 320, "causes": ["40 of 320 answers were cut off"],
    "paused": False,
}  # fmt: skip


def running(world: World, *records: dict[str, Any]) -> SessionView:
    """The running session after these records of its journal."""
    world.write("s-amber", "s-amber-0", "journal.jsonl", [(1.0, record) for record in records])
    view = world.board().refresh(budget=1 << 30).session("s-amber")
    assert view is not None
    return view


def test_an_alarm_is_trouble_on_every_screen(world: World) -> None:
    view = running(world, ALARM)
    said_first = f"alarm: {ALARM['message']} (5 the results, x terminate)"
    assert status.trouble(view) == said_first
    said = [plain(line).strip() for line in trouble_lines(view, 200)]
    assert f"▲ {said_first}" in said
    assert "maybe: 40 of 320 answers were cut off" in said
    assert sum("alarm" in line for line in said) == 1


def test_an_alarm_stays_in_the_summary_and_in_the_facts(world: World) -> None:
    view = running(world, ALARM)
    lines = summary_lines(view)
    assert f"ALARM     {ALARM['message']}" in lines
    assert "          maybe: 40 of 320 answers were cut off" in lines
    assert view.run is not None
    facts = run_facts(view.run)
    assert facts["alarm"] == {"message": ALARM["message"], "causes": ALARM["causes"]}
    assert facts["forced"] == []
    assert facts["oracle"] is None


def test_a_run_without_an_alarm_says_nothing_of_one(world: World) -> None:
    view = running(world)
    assert status.trouble(view) == ""
    assert not any("ALARM" in line for line in summary_lines(view))


def test_a_forced_run_says_so_beside_its_numbers(world: World) -> None:
    view = running(world)
    assert view.run is not None
    view.run.state.forced = ["`#### N` is asked for, `boxed` was trained"]
    labels = [plain(line) for line in now_lines(view, view.run)]
    assert any(line.startswith("forced") for line in labels)
    assert any(line.endswith("FORCED") for line in summary_lines(view))


def result(sample: str, candidate: int, right: bool) -> dict[str, Any]:
    return {
        "kind": "result", "ts": 1.0, "task": "t", "sample": sample, "candidate": candidate, "category": "",
        "verdict": "right" if right else "wrong", "reason": "parsed", "disagree": False, "tokens_in": 1,
        "tokens_out": 1,
    }  # fmt: skip


def test_best_of_n_stands_beside_the_accuracy(world: World) -> None:
    state = RunState(candidates=2)
    for sample, rights in {"a": (True, False), "b": (False, False), "c": (False, True)}.items():
        for candidate, right in enumerate(rights):
            fold(state, result(sample, candidate, right))
            score = {
                "kind": "scored",
                "ts": 2.0,
                "sample": sample,
                "candidate": candidate,
                "reranker": "energy",
            }
            fold(state, {**score, "score": float(candidate)})
    assert best_text(state) == "random pick 33.3 %, energy 33.3 % (0 % of the gap), oracle 66.7 %"
    view = running(world)
    assert view.run is not None
    view.run.state.best = state.best
    labels = [plain(line).split()[:2] for line in now_lines(view, view.run) if plain(line).strip()]
    assert ["energy", "33.3"] in labels
    assert ["oracle", "66.7"] in labels


def test_one_answer_a_sample_has_no_best() -> None:
    assert best_text(RunState(done=1, right=1)) == ""
