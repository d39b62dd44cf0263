"""The monitor: it counts batches in the order of their beginning, raises one alarm in a run's life, and names
what the results speak for."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from remote_agent import protocol
from remote_agent.expectation import Evidence, Monitor, causes
from remote_agent.protocol import Expectation

SIXTY = Expectation(low=0.6, high=0.6, says="spec")


def begin(*keys: int, more: bool = False) -> dict[str, Any]:
    record = protocol.payload(protocol.Begin(keys=[(str(k), 0) for k in keys]))
    return {**record, "more": more}


def result(sample: int, verdict: str = "wrong", reason: str = "parsed", **changes: Any) -> dict[str, Any]:
    fields = {
        "task": "t", "sample": str(sample), "verdict": verdict, "reason": reason, "extracted": str(sample),
        "rule": "hashes", "gold": "1", "completion": "x", "prompt_sha": "p", "tokens_in": 1, "tokens_out": 1,
        "finish": "stop", "seconds": 1.0, **changes,
    }  # fmt: skip
    return protocol.payload(protocol.Result.model_validate(fields))


def batches(count: int, size: int = 8, **changes: Any) -> list[dict[str, Any]]:
    records = []
    for b in range(count):
        keys = range(b * size, (b + 1) * size)
        records += [begin(*keys), *(result(k, **changes) for k in keys)]
    return records


def test_an_alarm_comes_once_and_says_what_was_expected() -> None:
    monitor = Monitor(SIXTY, [])
    raised = []
    for record in batches(12):
        monitor.take([record])
        if alarm := monitor.alarm():
            raised.append(alarm)
    (alarm,) = raised
    assert alarm.results <= 5 * 8
    assert alarm.band[0] == 0.0
    assert alarm.band[1] < 0.6
    assert "expected was 60 % (spec)" in alarm.message


def test_a_resumed_run_remembers_its_results_and_its_alarm() -> None:
    past = batches(3)
    resumed = Monitor(SIXTY, past)
    assert resumed.alarm() is None
    resumed.take(batches(9)[27:])
    alarm = resumed.alarm()
    assert alarm is not None
    again = Monitor(SIXTY, [*batches(9), protocol.payload(alarm)])
    again.take(batches(20)[81:])
    assert again.alarm() is None


def test_what_is_as_expected_raises_nothing() -> None:
    monitor = Monitor(Expectation(low=0.4, high=0.7), [])
    for b in range(60):
        keys = range(b * 8, b * 8 + 8)
        monitor.take([begin(*keys), *(result(k, "right" if k % 2 else "wrong") for k in keys)])
        assert monitor.alarm() is None


def test_too_much_is_an_alarm_as_well() -> None:
    monitor = Monitor(SIXTY, batches(12, verdict="right"))
    alarm = monitor.alarm()
    assert alarm is not None
    assert alarm.band[0] > 0.6
    assert "hold the answers" in alarm.causes[0]


def test_answers_that_come_first_do_not_count_first() -> None:
    """Short answers come back sooner: a later one waits for those that were begun before it."""
    monitor = Monitor(SIXTY, [begin(0)])
    for k in range(1, 60):
        monitor.take([begin(k, more=True), result(k)])
    assert monitor.alarm() is None
    monitor.take([result(0)])
    alarm = monitor.alarm()
    assert alarm is not None
    assert alarm.results == 60


def test_a_crash_lets_go_of_what_was_in_flight() -> None:
    opened = protocol.payload(protocol.Opened(attempt=2, pid=1, agent="a"))
    monitor = Monitor(SIXTY, [begin(*range(8)), opened, *batches(9)])
    alarm = monitor.alarm()
    assert alarm is not None
    assert alarm.results == 72


def test_a_batch_that_is_tried_one_by_one_counts_once() -> None:
    failed = protocol.payload(protocol.Failed(task="t", sample="1", error="boom"))
    monitor = Monitor(SIXTY, [begin(0, 1), begin(0), result(0), begin(1), begin(1), failed])
    monitor.take(batches(12)[18:])
    alarm = monitor.alarm()
    assert alarm is not None
    assert alarm.results == 1 + 10 * 8


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=9), max_size=12), st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_is_begun_and_settled_is_counted_once(units: list[list[bool]], data: st.DataObject) -> None:
    monitor, key, counted = Monitor(SIXTY, []), 0, 0
    for unit in units:
        keys = list(range(key, key + len(unit)))
        key += len(unit)
        monitor.take([begin(*keys)])
        order = data.draw(st.permutations(list(zip(keys, unit, strict=True))))
        for sample, right in order:
            monitor.take([result(sample, "right" if right else "wrong")])
        counted += len(unit)
        assert monitor._counted == counted


def test_causes_stand_in_the_order_of_their_evidence() -> None:
    evidence = Evidence()
    for i in range(20):
        reason = "truncated" if i < 12 else "empty" if i < 17 else "parsed"
        verdict = "wrong" if reason == "parsed" else "no_answer"
        extracted = "7" if reason == "parsed" else None
        evidence.take(result(i, verdict, reason, extracted=extracted, disagree=i >= 18))
    found = causes(evidence, ["no template"], above=False)
    assert found[0] == "no template"
    assert found[1].startswith("12 of 20 answers were cut off")
    assert found[2].startswith("5 of 20 answers are empty")
    assert found[3].startswith("3 of 20 answers are '7'")
    assert found[4].startswith("2 of 20 answers are read otherwise")


def test_a_letter_dominates_only_beyond_what_is_right() -> None:
    evidence = Evidence()
    for i in range(40):
        gold = "ABCD"[i % 4]
        evidence.take(result(i, "right" if gold == "A" else "wrong", extracted="A", gold=gold))
    (cause,) = causes(evidence, [], above=False)
    assert cause.startswith("30 of 40 answers are 'A' without being right")
    fair = Evidence()
    for i in range(40):
        fair.take(result(i, "right", extracted="ABCD"[i % 4], gold="ABCD"[i % 4]))
    assert causes(fair, [], above=False) == []
