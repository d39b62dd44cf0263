"""A replay shows what was there at each moment, ends with the very state that the fold gives, and asks nobody."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusess.errors import SessionError
from gpusess.sessions.mirror import RunMirror
from gpusess.sessions.recording import find_recording, span
from gpusess.sessions.replay import ReplayBoard
from gpusess.sessions.replay_clock import ReplayClock
from gpusess.sessions.states import State
from remote_agent.journal import encode
from tests.tui import trainings, world

Records = Iterable[tuple[float, dict[str, Any]]]


class Real:
    """The real clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def write(folder: Path, name: str, records: Records) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = (encode(record, i, world.NOW - before) for i, (before, record) in enumerate(records))
    (folder / name).write_bytes(b"".join(lines))


def an_evaluation(folder: Path) -> Path:
    records = list(world.evaluation(total=1319, done=200, start=1400, pace=1.7))
    records.append((900, {"kind": "finished", "outcome": "complete", "message": ""}))
    write(folder, "journal.jsonl", records)
    beats = list(world.heartbeats(1425, 905, every=5))
    ended = (899, {"kind": "ended", "outcome": "complete", "message": ""})
    write(folder, "events.jsonl", [*beats, ended])
    return folder


def a_training(folder: Path) -> Path:
    write(folder, "journal.jsonl", trainings.guarded(trainings.grpo(200, 171, 150, 1700.0)))
    return folder


def replaying(folder: Path, speed: float = 60.0) -> tuple[ReplayBoard, ReplayClock, Real]:
    found, real = find_recording(str(folder)), Real()
    clock = ReplayClock(found.start, found.end, speed, real)
    return ReplayBoard(found, clock), clock, real


@pytest.mark.parametrize("make", [an_evaluation, a_training])
def test_it_ends_with_the_state_of_the_fold(tmp_path: Path, make: Any) -> None:
    board, clock, real = replaying(make(tmp_path / "run"))
    while not clock.at_end:
        board.refresh()
        real.now += 0.9
    fleet = board.refresh()
    whole = RunMirror(tmp_path / "run")
    whole.refresh()
    assert fleet.sessions[0].runs[0].state == whole.state
    assert not fleet.catching_up
    assert fleet.burn == 0.0
    assert fleet.replay is not None
    assert fleet.replay.at == fleet.replay.length


@given(moments=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_at_any_moment_and_after_any_jumps_it_is_the_fold_of_what_had_come(
    tmp_path_factory: pytest.TempPathFactory, moments: list[float]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "jumps"
    if not folder.exists():
        an_evaluation(folder)
    board, clock, _ = replaying(folder)
    clock.paused = True
    for share in moments:
        clock.seek(clock.start + share * (clock.end - clock.start))
        shown = board.refresh().sessions[0].runs[0].state
    part = folder.parent / "part"
    for name in ("journal.jsonl", "events.jsonl"):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        part.mkdir(exist_ok=True)
        (part / name).write_bytes(b"".join(line for line in lines if stamp(line) <= clock()))
    expected = RunMirror(part)
    expected.refresh()
    assert shown == expected.state


def stamp(line: bytes) -> float:
    return float(line.split(b'"ts":')[1].split(b",")[0])


def test_a_look_takes_no_more_than_its_budget(tmp_path: Path) -> None:
    board, clock, _ = replaying(an_evaluation(tmp_path / "run"))
    clock.seek(clock.end)
    looks = 1
    while board.refresh(4096).catching_up:
        looks += 1
    assert looks > 3


def test_a_clock_that_was_set_back_changes_no_order(tmp_path: Path) -> None:
    folder = a_training(tmp_path / "run")
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    tail = [({"kind": "step", "step": 180 + i, "figures": {"loss": 1.0}}, 2e5 - i) for i in range(3)]
    more = [encode(record, len(lines) + i, world.NOW - before) for i, (record, before) in enumerate(tail)]
    (folder / "journal.jsonl").write_bytes(b"".join([*lines, *more]))
    board, clock, _ = replaying(folder)
    clock.seek(clock.end)
    state = board.refresh().sessions[0].runs[0].state
    assert state.train is not None
    assert state.train.step == 182


def test_the_speed_and_the_pause_are_those_of_the_clock(tmp_path: Path) -> None:
    _, clock, real = replaying(a_training(tmp_path / "run"), speed=7.0)
    real.now += 2
    assert clock() == pytest.approx(clock.start + 14)
    clock.toggle()
    real.now += 100
    assert clock() == pytest.approx(clock.start + 14)
    clock.toggle()
    clock.change_speed(1)
    assert clock.speed == 10.0
    real.now += 1
    assert clock() == pytest.approx(clock.start + 24)
    clock.change_speed(-1)
    clock.change_speed(-1)
    assert clock.speed == 2.0
    clock.seek(clock.end + 5)
    assert clock.at_end
    clock.toggle()
    assert clock() == clock.start


def test_skipping_goes_to_the_next_record(tmp_path: Path) -> None:
    board, clock, _ = replaying(a_training(tmp_path / "run"))
    clock.paused = True
    clock.seek(clock.start + 400)
    before = board.refresh().sessions[0].runs[0].state.done
    board.skip()
    assert board.refresh().sessions[0].runs[0].state.done == before + 1


def test_a_session_is_replayed_with_its_way_and_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    built = world.build(tmp_path)
    try:
        found = find_recording("gale-petrel")
        clock = ReplayClock(found.start, found.end, 60.0, Real())
        board = ReplayBoard(found, clock)
        (view,) = board.refresh().sessions
        assert view.row.state is State.REQUESTED
        assert view.runs[0].row.status == "pending"
        clock.seek(world.NOW - 8000)
        (view,) = board.refresh().sessions
        assert view.row.state is State.RUNNING
        assert view.runs[0].row.status == "running"
        assert 0 < view.runs[0].state.done < 660
        assert not view.bills
        assert view.driven
        clock.seek(clock.end)
        (view,) = board.refresh().sessions
        assert view.row.state is State.TERMINATED
        assert (view.runs[0].row.status, view.runs[0].state.done) == ("complete", 660)
        assert not built.store.open_requests(view.row.id)
        with pytest.raises(SessionError, match="no run 'nope'"):
            find_recording("gale-petrel/nope")
        with pytest.raises(SessionError, match="nothing at home"):
            find_recording("dusk-swift")
    finally:
        built.let_go()
        built.store.close()


def test_what_holds_no_record_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").touch()
    with pytest.raises(SessionError, match="no record"):
        span(tmp_path)


def test_log_lines_come_at_their_time(tmp_path: Path) -> None:
    folder = a_training(tmp_path / "run")
    (folder / "worker.log").write_text(
        "2026-03-14T14:45:00.000Z INFO worker early\n2026-03-14T15:00:00.000Z INFO worker late\n"
    )
    board, clock, _ = replaying(folder)
    clock.seek(world.NOW - 900)
    board.refresh()
    assert [line.text for line in board.logs("run").lines] == ["early"]
    clock.seek(clock.end)
    board.refresh()
    assert [line.text for line in board.logs("run").lines] == ["early", "late"]
