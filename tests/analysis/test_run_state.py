"""The fold: the same records give the same state, however they arrive, and the counts add up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpusess.analysis.run_state import CURVE_POINTS, RunState, fold
from remote_agent import protocol

PLANNED = protocol.payload(
    protocol.Planned(
        task="t", samples=9, candidates=1, total=9, categories={"a": 5, "b": 4}, plan_sha="s", data="d",
        model="m", engine="e", dtype="float32", headline="hashes",
    )
)  # fmt: skip


def at(ts: float, record: dict[str, Any]) -> dict[str, Any]:
    return {"ts": ts, "seq": 0, **record}


def result(sample: int, verdict: str = "right", reason: str = "parsed", **changes: Any) -> dict[str, Any]:
    fields = {
        "task": "t", "sample": str(sample), "category": "a", "verdict": verdict, "reason": reason,
        "extracted": "1", "rule": "hashes", "gold": "1", "completion": "#### 1", "prompt_sha": "p",
        "tokens_in": 10, "tokens_out": 4, "finish": "stop", "seconds": 1.0, **changes,
    }  # fmt: skip
    return protocol.payload(protocol.Result.model_validate(fields))


def folded(*records: dict[str, Any]) -> RunState:
    state = RunState()
    for record in records:
        fold(state, record)
    return state


VERDICTS = [
    ("right", "parsed"),
    ("wrong", "parsed"),
    ("no_answer", "truncated"),
    ("no_answer", "empty"),
    ("no_answer", "unparsed"),
]


@given(st.lists(st.sampled_from(VERDICTS), max_size=60))
def test_counts_add_up(verdicts: list[tuple[str, str]]) -> None:
    state = folded(at(0, PLANNED), *(at(i, result(i, *v)) for i, v in enumerate(verdicts)))
    assert state.done == len(verdicts) == state.right + state.wrong + state.no_answer
    assert state.truncated == verdicts.count(("no_answer", "truncated"))
    assert state.empty == verdicts.count(("no_answer", "empty"))
    assert state.tokens_out == 4 * len(verdicts)
    assert sum(c.done for c in state.categories.values()) == len(verdicts)
    assert sum(c.right for c in state.categories.values()) == state.right
    if verdicts:
        assert state.accuracy == state.right / len(verdicts)
        assert state.curve[-1].n == len(verdicts)
    else:
        assert state.accuracy is None
        assert state.band is None


def test_what_gives_no_answer_counts_as_not_right_and_what_failed_does_not_count() -> None:
    failed = protocol.payload(protocol.Failed(task="t", sample="9", category="a", error="boom", crashes=3))
    state = folded(at(0, result(1)), at(1, result(2, "no_answer", "truncated")), at(2, failed))
    assert (state.done, state.graded, state.failed, state.accuracy) == (3, 2, 1, 0.5)
    assert state.failures == [("9", "boom")]


def test_the_curve_is_thinned_but_keeps_its_shape() -> None:
    state = RunState()
    n = CURVE_POINTS * 5
    for i in range(n):
        fold(state, at(float(i), result(i, "right" if i % 4 else "wrong")))
    assert len(state.curve) <= CURVE_POINTS
    steps = {b.n - a.n for a, b in zip(state.curve, state.curve[1:], strict=False)}
    assert steps == {state.curve_stride}
    assert all(p.low <= p.accuracy <= p.high for p in state.curve)
    assert state.curve[-1].accuracy == pytest.approx(0.75, abs=0.01)


def test_pace_and_eta_come_from_the_last_minute() -> None:
    slow = [at(i * 100.0, result(1000 + i)) for i in range(3)]
    fast = [at(1000.0 + i, result(i)) for i in range(70)]
    state = folded(at(0, {**PLANNED, "total": 103}), *slow, *fast)
    assert state.results_per_second == pytest.approx(1.0)
    assert state.tokens_per_second == pytest.approx(4.0)
    assert state.eta == pytest.approx(30.0)


def test_the_first_batch_gives_a_pace_already() -> None:
    begin = protocol.payload(protocol.Begin(keys=[("0", 0)]))
    state = folded(at(0, PLANNED), at(10, begin), at(14, result(0)), at(14, result(1)))
    assert state.results_per_second == pytest.approx(0.5)


def test_a_new_attempt_takes_back_the_last_word() -> None:
    opened = protocol.payload(protocol.Opened(attempt=2, pid=1, agent="a", repaired=7))
    failed = protocol.payload(protocol.Finished(outcome="failed", message="no disk"))
    ended = protocol.payload(protocol.Ended(outcome="stopped"))
    supervisor = protocol.payload(protocol.SupervisorStarted(pid=1, agent="a", host="h"))
    assert folded(at(0, failed)).outcome == "failed"
    assert folded(at(0, failed), at(1, opened)).outcome is None
    # The two journals are read one after the other: the order between them must not matter.
    assert folded(at(0, failed), at(2, opened), at(1, ended), at(2, supervisor)).outcome is None
    assert folded(at(1, ended), at(2, supervisor), at(0, failed), at(2, opened)).outcome is None
    assert folded(at(0, opened)).repaired == 7


def test_the_workers_own_word_comes_before_the_supervisors() -> None:
    failed = protocol.payload(protocol.Finished(outcome="failed", message="the template is missing"))
    ended = protocol.payload(protocol.Ended(outcome="failed", message="exit 3"))
    for order in ((failed, ended), (ended, failed)):
        assert folded(*(at(0, r) for r in order)).message == "the template is missing"


def test_a_full_disk_is_shown_while_it_lasts() -> None:
    paused = protocol.payload(protocol.Paused(reason="the disk is full"))
    unpaused = protocol.payload(protocol.Unpaused(waited=3.0))
    assert folded(at(0, paused)).paused == "the disk is full"
    assert folded(at(0, paused), at(1, unpaused)).paused is None


def test_unknown_kinds_are_skipped() -> None:
    state = folded(at(5, {"kind": "of a later version"}))
    assert (state.done, state.version, state.last_record) == (0, 1, 5)
