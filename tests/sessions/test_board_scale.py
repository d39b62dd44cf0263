"""The board over twenty live sessions: each look reads what is new, and no more of it than it may."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gpusess import paths
from gpusess.sessions import mirror
from gpusess.sessions.board import LOG_BYTES, Board
from gpusess.sessions.states import State
from gpusess.sessions.store import Store
from remote_agent.journal import encode

LIVE = (State.LAUNCHING, State.BOOTING, State.CONNECTING, State.PREPARING, State.READY, State.RUNNING)
SESSIONS = 20


def records(first: int, count: int) -> bytes:
    return b"".join(
        encode({"kind": "phase", "name": "evaluate", "detail": "x" * 200}, seq, 1e9)
        for seq in range(first, first + count)
    )


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setenv("GPUSESS_HOME", str(tmp_path))
    store = Store(paths.database())
    for n in range(SESSIONS):
        store.add_session(
            id=f"s{n}", name=f"n{n}", job="j", provider="local", spec="", spec_path="", options={},
            runs=[(f"r{n}", "eval")],
        )  # fmt: skip
        for state in LIVE:
            store.move(f"s{n}", state)
        store.update_run(f"r{n}", status="running", started=time.time())
        journal(n).write_bytes(records(0, 1000))
    return Board(store)


def journal(number: int) -> Path:
    folder = paths.run_dir(f"s{number}", f"r{number}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "journal.jsonl"


def test_twenty_sessions_are_read_as_they_grow(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    first = board.refresh()
    assert [view.runs[0].state.version for view in first.sessions] == [1000] * SESSIONS
    read = 0
    real = mirror.Tail.lines

    def counted(tail: mirror.Tail, limit: int = mirror.CHUNK) -> list[bytes]:
        nonlocal read
        before = tail.offset
        found = real(tail, limit)
        read += tail.offset - before
        return found

    monkeypatch.setattr(mirror.Tail, "lines", counted)
    for n in range(SESSIONS):
        with journal(n).open("ab") as file:
            file.write(records(1000, 10 + n))
    grown = sum(journal(n).stat().st_size for n in range(SESSIONS)) - 20 * len(records(0, 1000))
    second = board.refresh()
    counts = {view.row.id: view.runs[0].state.version for view in second.sessions}
    assert counts == {f"s{n}": 1010 + n for n in range(SESSIONS)}
    assert read == grown, "only what is new is read"
    board.refresh()
    assert read == grown


def test_one_long_journal_does_not_hold_up_the_others(board: Board) -> None:
    with journal(0).open("ab") as file:
        file.write(records(1000, 30_000))
    view = board.refresh(budget=1 << 20)
    states = {session.row.id: session.runs[0] for session in view.sessions}
    assert states["s0"].catching_up
    assert states["s0"].state.version < 31_000
    assert all(states[f"s{n}"].state.version == 1000 for n in range(1, SESSIONS))
    while board.refresh(budget=1 << 20).catching_up:
        pass
    assert board.refresh().session("s0").runs[0].state.version == 31_000  # type: ignore[union-attr]


def test_a_long_log_is_read_from_near_its_end(board: Board) -> None:
    log = journal(0).with_name("worker.log")
    with log.open("w") as file:
        file.writelines(f"2026-11-21T09:00:00.000Z INFO worker line {n:09}\n" for n in range(250_000))
    assert log.stat().st_size > 2 * LOG_BYTES
    book = board.logs("s0")
    assert len(book.lines) < 100_000
    assert book.lines[-1].text.endswith("line 000249999")
    assert all(line.text.startswith("line ") for line in book.lines), "no half line at its beginning"
    with log.open("a") as file:
        file.write("2026-11-21T09:00:01.000Z INFO worker one more\n")
    assert board.logs("s0").lines[-1].text == "one more"


def test_a_line_that_never_ends_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "LINE_LIMIT", 1000)
    log = tmp_path / "worker.log"
    log.write_bytes(b"first\n" + b"\rprogress" * 500)
    tail = mirror.Tail(log)
    assert tail.lines() == [b"first", b"\rprogress" * 500]
    with log.open("ab") as file:
        file.write(b"end\n")
    assert tail.lines() == [b"end"]
