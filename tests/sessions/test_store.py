"""The store: the state machine holds, writes are durable, and several processes may look."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gpusess.errors import SessionError
from gpusess.sessions import money
from gpusess.sessions.ledger import Rental
from gpusess.sessions.states import ALLOWED, ORDER, State
from gpusess.sessions.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "s.db", clock=iter(range(1000, 10**6)).__next__)


def add(store: Store, id: str = "s1", name: str = "amber-finch", **changes: Any) -> None:
    store.add_session(
        id=id,
        name=name,
        job="j",
        provider="local",
        spec="x",
        spec_path="x.yaml",
        options={},
        runs=[(f"{id}-r", "r")],
    )
    if changes:
        store.update(id, **changes)


def test_the_undisturbed_way_is_allowed_and_recorded(store: Store) -> None:
    add(store)
    for state in ORDER[1:]:
        store.move("s1", state, f"to {state}")
    assert [t.state for t in store.transitions("s1")] == list(ORDER)
    assert store.session("s1").state is State.TERMINATED


def test_every_state_can_fail_and_every_state_with_an_instance_can_end() -> None:
    for state in State:
        if state is not State.FAILED:
            assert State.FAILED in ALLOWED[state], state
        if state is not State.TERMINATED:
            assert {State.TERMINATING, State.TERMINATED} & ALLOWED[state], state


@pytest.mark.parametrize(("old", "new"), [(b, a) for a, b in pairwise(ORDER) if a not in ALLOWED[b]])
def test_no_way_back(store: Store, old: State, new: State) -> None:
    add(store)
    for state in ORDER[1 : ORDER.index(old) + 1]:
        store.move("s1", state)
    with pytest.raises(SessionError, match=f"from {old} to {new}"):
        store.move("s1", new)
    assert store.session("s1").state is old


def test_a_refused_move_changes_nothing(store: Store) -> None:
    add(store)
    with pytest.raises(SessionError):
        store.move("s1", State.RUNNING, instance_id="i")
    assert store.session("s1").instance_id is None
    assert len(store.transitions("s1")) == 1


def test_state_is_not_changed_by_the_back_door(store: Store) -> None:
    add(store)
    with pytest.raises(ValueError, match="move"):
        store.update("s1", state="running")
    with pytest.raises(SessionError):
        store.update("nobody", detail="x")


def test_it_is_durable_before_it_returns(tmp_path: Path) -> None:
    """A process that is killed right after `move` has moved."""
    code = f"""
import os, signal
from pathlib import Path
from gpusess.sessions.store import Store
from gpusess.sessions.states import State
s = Store(Path({str(tmp_path / "s.db")!r}))
s.add_session(id="a", name="n", job="j", provider="local", spec="", spec_path="", options={{}}, runs=[])
s.add_intent("a", "launch", "local", "gpusess-a-1", 1.5)
s.move("a", State.LAUNCHING, launch_name="gpusess-a-1")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    store = Store(tmp_path / "s.db")
    assert store.session("a").state is State.LAUNCHING
    (intent,) = store.intents("a")
    assert (intent.launch_name, intent.settled, intent.price) == ("gpusess-a-1", None, 1.5)
    (level,) = sqlite3.connect(tmp_path / "s.db").execute("PRAGMA journal_mode").fetchone()
    assert level == "wal"


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    Store(tmp_path / "deep" / "s.db")
    assert (tmp_path / "deep" / "s.db").stat().st_mode & 0o077 == 0


def test_sessions_are_found_by_name_id_and_beginning(store: Store) -> None:
    add(store, "aaa1", "amber-finch")
    add(store, "bbb2", "amber-heron")
    assert store.find("amber-finch").id == "aaa1"
    assert store.find("bbb").id == "bbb2"
    assert store.find(None).id == "bbb2"
    with pytest.raises(SessionError, match="not unique: amber-heron, amber-finch"):
        store.find("amber")
    with pytest.raises(SessionError, match="no session 'zzz'"):
        store.find("zzz")


def test_requests_are_taken_once_and_seen_by_others(store: Store, tmp_path: Path) -> None:
    add(store)
    other = Store(tmp_path / "s.db")
    before = other.data_version
    store.ask("s1", "terminate", pull=True)
    assert other.data_version != before
    (request,) = other.open_requests("s1")
    assert (request.verb, request.args) == ("terminate", {"pull": True})
    other.take_request(request.id)
    assert store.open_requests("s1") == []


def rental(name: str, asked: float, ended: float | None = None, price: float = 3.6) -> Rental:
    return Rental(name, "s1", "local", "", asked, price, ended=ended, outcome="launched")


def test_money_runs_from_launch_to_the_end_over_all_instances(store: Store) -> None:
    add(store)
    ledger = store.ledger
    assert money.spent(ledger.rentals("s1"), 5000) == 0
    ledger.add(rental("a", 1000.0))
    assert money.spent(ledger.rentals("s1"), 2000) == pytest.approx(1.0)
    assert money.bills(ledger.rentals("s1"))
    store.move("s1", State.FAILED, error="no ssh")
    assert money.burn(ledger.rentals()) == 3.6, "a failed session with an instance still bills"
    ledger.change("a", ended=3000.0)
    assert money.spent(ledger.rentals("s1"), 9999) == pytest.approx(2.0)
    assert money.burn(ledger.rentals()) == 0
    ledger.add(rental("b", 9000.0, ended=14000.0))
    assert money.spent(ledger.rentals("s1"), 99999) == pytest.approx(7.0)
    assert money.spent(ledger.rentals("s1"), 99999, since=2000.0, until=10000.0) == pytest.approx(2.0)


def test_a_refused_launch_costs_nothing_and_an_open_one_may(store: Store) -> None:
    ledger = store.ledger
    ledger.add(Rental("open", "s1", "local", "", 1000.0, 3.6))
    assert money.burn(ledger.rentals()) == 3.6
    ledger.change("open", outcome="refused: no room", ended=1500.0)
    assert money.spent(ledger.rentals(), 9999) == 0


def test_a_store_without_a_ledger_is_given_one(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old.db")
    old.executescript(OLD)
    old.close()
    store = Store(tmp_path / "old.db")
    assert store.session("a").launched == 1000.0
    assert money.spent(store.ledger.rentals("a"), 99999) == pytest.approx(5.0 + 2.0)
    assert not money.bills(store.ledger.rentals("a"))
    (alive,) = store.ledger.rentals("b")
    assert (alive.name, alive.instance_id, alive.bills) == ("gpusess-b-1", "i-b", True)
    assert [i.account for i in store.intents()] == [""]
    store.close()
    assert len(Store(tmp_path / "old.db").ledger.rentals()) == 3, "and only once"


OLD = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, job TEXT NOT NULL, provider TEXT NOT NULL,
    spec TEXT NOT NULL, spec_path TEXT NOT NULL, created REAL NOT NULL,
    state TEXT NOT NULL, since REAL NOT NULL, detail TEXT NOT NULL DEFAULT '',
    launch_name TEXT, instance_id TEXT, offer TEXT, price REAL NOT NULL DEFAULT 0,
    endpoint TEXT, launched REAL, ended REAL, spent_before REAL NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '', options TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE intents (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, at REAL NOT NULL, verb TEXT NOT NULL,
    provider TEXT NOT NULL, launch_name TEXT NOT NULL, price REAL NOT NULL,
    instance_id TEXT, settled REAL, outcome TEXT NOT NULL DEFAULT ''
);
INSERT INTO sessions (id,name,job,provider,spec,spec_path,created,state,since,launch_name,instance_id,price,
    launched,ended,spent_before) VALUES
    ('a','n','j','local','','',500,'terminated',3000,'gpusess-a-2','i-a',3.6,1000,3000,5.0),
    ('b','m','j','local','','',500,'running',3000,'gpusess-b-1','i-b',1.0,1000,NULL,0);
INSERT INTO intents (session,at,verb,provider,launch_name,price) VALUES ('a',1,'launch','local','gpusess-a-2',3.6);
"""
