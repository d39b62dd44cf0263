"""The fold of a training: figures and evaluations, what a rollback and a lost worker take back."""

from __future__ import annotations

from typing import Any

from gpusess.analysis.run_state import RunState, fold
from gpusess.sessions.training_summary import training_facts, training_lines
from gpusess.tui.panes.training import shown_lines
from remote_agent.protocol import payload
from remote_agent.train_protocol import Continued, Evaluated, Guarded, Saved, Seen, Step, TrainPlanned

PLANNED = TrainPlanned(
    method="sft", steps=9, rows=3, tokens=90, counted=30, trainable=5, parameters=50, plan_sha="s",
    data="rows.jsonl", model="m", dtype="float32",
)  # fmt: skip


def folded(*records: Any) -> RunState:
    state = RunState()
    for at, record in enumerate(records):
        fold(state, {**payload(record), "ts": 100.0 + 10 * at})
    return state


def step(number: int, loss: float | None = 1.0) -> Step:
    return Step(step=number, tokens=10 * number, figures={"loss": loss})


def evaluated(number: int, right: int) -> Evaluated:
    return Evaluated(step=number, task="t", samples=10, right=right, seconds=1.0)


def test_steps_are_progress_and_the_newest_evaluation_is_the_accuracy() -> None:
    state = folded(PLANNED, evaluated(0, 1), step(1), step(2, 0.5), evaluated(2, 6), step(3, 0.4))
    assert (state.done, state.total) == (3, 9)
    assert state.accuracy == 0.6
    assert [(point.n, point.accuracy) for point in state.curve] == [(0, 0.1), (2, 0.6)]
    assert state.train is not None
    assert state.train.figures["loss"] == [(1, 1.0), (2, 0.5), (3, 0.4)]
    assert state.train.best is not None
    assert state.train.best.step == 2
    assert state.eta is not None


def test_what_a_lost_worker_had_computed_beyond_the_checkpoint_does_not_count() -> None:
    saved = Saved(step=2, name="step-000002", bytes=1, sha="", seconds=0.1)
    state = folded(
        PLANNED, step(1), step(2), saved, step(3, 7.0), evaluated(3, 9), Continued(step=2, name="step-000002"),
        step(3, 0.3),
    )  # fmt: skip
    assert state.train is not None
    assert state.train.figures["loss"][-1] == (3, 0.3)
    assert [value for number, value in state.train.figures["loss"] if number == 3] == [0.3]
    assert state.train.evaluations == []
    assert state.done == 3


def test_a_rollback_goes_back_and_is_kept_in_sight() -> None:
    collapse = Guarded(step=4, rule="loss", message="it jumped", action="rollback", to_step=2, lr_factor=0.5)
    state = folded(PLANNED, step(1), step(2), step(3, 9.0), step(4, 9.0), collapse)
    assert state.train is not None
    assert state.done == 2
    assert [c.rule for c in state.train.collapses] == ["loss"]
    assert any("COLLAPSE" in line and "it jumped" in line for line in training_lines(state.train))


def test_a_figure_that_is_no_number_is_said_and_not_drawn_as_one() -> None:
    state = folded(PLANNED, step(1, None), evaluated(1, 3))
    assert state.train is not None
    assert "not finite" in training_lines(state.train)[0]
    facts = training_facts(state.train)
    assert facts is not None
    assert facts["figures"] == {"loss": None}
    assert facts["evaluations"][0]["right"] == 3


def test_rows_are_drawn_as_tokens_and_never_as_escapes() -> None:
    seen = Seen(row="line 1", pieces=[("hi\x1b[31m", False), (" there\n", False), ("yes", True)])
    state = folded(PLANNED, seen)
    assert state.train is not None
    lines = shown_lines(state.train.shown, 20)
    text = ["".join(piece for piece, _ in line) for line in lines]
    assert text == ["line 1  1 of 3 tokens count", "hi there⏎", "yes"]
    assert lines[-1] == [("yes", "ok")]
