"""The store: one SQLite file (WAL, synchronous=FULL) with sessions, their transitions, runs, requests, the
money's intents, and the ledger (`ledger.py`). Every write is committed, and so durable, before its method
returns: whoever announces an effect writes here first. No rules live here but the state machine's.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gpusess.errors import SessionError
from gpusess.sessions import ledger
from gpusess.sessions.ledger import Ledger, Rental
from gpusess.sessions.states import ALLOWED, State

_VERSION = 1
"""Of the tables. 0: a store without a ledger, where a session had the sum of its earlier instances."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, job TEXT NOT NULL, provider TEXT NOT NULL,
    spec TEXT NOT NULL, spec_path TEXT NOT NULL, created REAL NOT NULL,
    state TEXT NOT NULL, since REAL NOT NULL, detail TEXT NOT NULL DEFAULT '',
    launch_name TEXT, instance_id TEXT, offer TEXT, price REAL NOT NULL DEFAULT 0,
    endpoint TEXT, launched REAL, ended REAL,
    error TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '', options TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS transitions (
    session TEXT NOT NULL, at REAL NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS transitions_of ON transitions (session, at);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL,
    status TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '', started REAL, ended REAL
);
CREATE TABLE IF NOT EXISTS intents (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, at REAL NOT NULL, verb TEXT NOT NULL,
    provider TEXT NOT NULL, launch_name TEXT NOT NULL, price REAL NOT NULL,
    instance_id TEXT, settled REAL, outcome TEXT NOT NULL DEFAULT '', account TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, at REAL NOT NULL, verb TEXT NOT NULL,
    args TEXT NOT NULL, taken REAL
);
"""


@dataclass(slots=True)
class SessionRow:
    """One session. Times are seconds since the epoch, money is US dollars."""

    id: str
    name: str
    job: str
    provider: str
    spec: str
    spec_path: str
    created: float
    state: State
    since: float
    detail: str
    launch_name: str | None
    """The name that the provider carries: how an instance is recognised as this session's."""
    instance_id: str | None
    offer: dict[str, Any] | None
    price: float
    endpoint: dict[str, Any] | None
    launched: float | None
    """When the present instance was launched (billing begins)."""
    ended: float | None
    """When the provider said that it is gone (billing ends)."""
    error: str
    hint: str
    options: dict[str, Any]


@dataclass(slots=True)
class RunRow:
    """One run of a session. `status`: pending, running, complete, failed, stopped."""

    id: str
    session: str
    position: int
    name: str
    status: str
    detail: str
    started: float | None
    ended: float | None


@dataclass(slots=True)
class Transition:
    session: str
    at: float
    state: State
    detail: str


@dataclass(slots=True)
class Intent:
    """A call that costs or ends money. `settled` is None until its outcome is known."""

    id: int
    session: str
    at: float
    verb: str
    provider: str
    launch_name: str
    price: float
    instance_id: str | None
    settled: float | None
    outcome: str
    account: str = ""
    """The fingerprint of the key that the call is made with."""


@dataclass(slots=True)
class Request:
    """What a user asks of the process that drives a session."""

    id: int
    session: str
    at: float
    verb: str
    args: dict[str, Any]
    taken: float | None = None
    """When it was obeyed, passed on, or dropped (then `args` says why, as `dropped`)."""


_JSON = {"offer", "endpoint", "options", "args"}


class Store:
    """The one place for durable facts about sessions. Several processes may have it open."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clock = clock
        self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._prepare()
        path.chmod(0o600)
        self.ledger = Ledger(self._rows, self._transaction)

    def close(self) -> None:
        self._db.close()

    def _prepare(self) -> None:
        """Make the tables, or bring an older store's up to date."""
        if self._version() >= _VERSION:
            return
        self._db.executescript(_SCHEMA + ledger.SCHEMA)
        with self._transaction() as db:
            if self._version() >= _VERSION:  # another process was quicker
                return
            columns = {row["name"] for row in db.execute("PRAGMA table_info(sessions)")}
            if "spent_before" in columns:
                db.execute("ALTER TABLE intents ADD COLUMN account TEXT NOT NULL DEFAULT ''")
                ledger.backfill(db)
                db.execute("ALTER TABLE sessions DROP COLUMN spent_before")
            db.execute(f"PRAGMA user_version={_VERSION}")

    def _version(self) -> int:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        return int(version)

    # --- sessions ---

    def add_session(
        self,
        *,
        id: str,
        name: str,
        job: str,
        provider: str,
        spec: str,
        spec_path: str,
        options: dict[str, Any],
        runs: list[tuple[str, str]],
    ) -> None:
        """A new session in state `requested`, with its runs as (id, name)."""
        now = self._clock()
        with self._transaction() as db:
            db.execute(
                "INSERT INTO sessions (id,name,job,provider,spec,spec_path,created,state,since,options)"
                " VALUES (?,?,?,?,?,?,?,?,?,?)",
                (id, name, job, provider, spec, spec_path, now, State.REQUESTED, now, json.dumps(options)),
            )
            db.execute("INSERT INTO transitions VALUES (?,?,?,'')", (id, now, State.REQUESTED))
            for position, (run, run_name) in enumerate(runs):
                db.execute(
                    "INSERT INTO runs (id,session,position,name,status) VALUES (?,?,?,?,'pending')",
                    (run, id, position, run_name),
                )

    def session(self, id: str) -> SessionRow:
        rows = self._rows("SELECT * FROM sessions WHERE id=?", id)
        if not rows:
            raise SessionError(f"no session '{id}'", "`gpusess status` lists them")
        return _session(rows[0])

    def sessions(self) -> list[SessionRow]:
        """All sessions, newest first."""
        return [_session(r) for r in self._rows("SELECT * FROM sessions ORDER BY created DESC, id")]

    def find(self, name: str | None) -> SessionRow:
        """The session with that name or id (or a unique beginning of one); None: the newest one."""
        rows = self.sessions()
        if name is None and rows:
            return rows[0]
        exact = [r for r in rows if name in (r.id, r.name)]
        near = exact or [r for r in rows if name and (r.id.startswith(name) or r.name.startswith(name))]
        if len(near) == 1 or exact:
            return near[0]
        if near:
            names = ", ".join(r.name for r in near)
            raise SessionError(f"'{name}' is not unique: {names}", "give the whole name")
        if name and rows:
            raise SessionError(f"no session '{name}'", "`gpusess status --all` lists them")
        what = f"no session '{name}'" if name else "no sessions yet"
        raise SessionError(what, "`gpusess up SPEC` starts one")

    def move(self, id: str, state: State, detail: str = "", **changes: Any) -> None:
        """One transition, with changes of other columns, in one durable step."""
        with self._transaction() as db:
            _move(db, id, self._clock(), state, detail, changes)

    def update(self, id: str, **changes: Any) -> None:
        """Change columns of a session that are not its state."""
        if changes.keys() & {"id", "state", "since"}:
            raise ValueError("a state is changed by move()")
        with self._transaction() as db:
            _update(db, "sessions", id, changes)

    def transitions(self, id: str) -> list[Transition]:
        rows = self._rows("SELECT * FROM transitions WHERE session=? ORDER BY at, rowid", id)
        return [Transition(r["session"], r["at"], State(r["state"]), r["detail"]) for r in rows]

    def transitions_of(self, provider: str, type: str) -> dict[str, list[Transition]]:
        """The transitions of the last 50 sessions on an instance type, by session."""
        rows = self._rows(
            "SELECT t.* FROM transitions t JOIN (SELECT id FROM sessions WHERE provider=? AND"
            " json_extract(offer,'$.name')=? ORDER BY created DESC LIMIT 50) s ON t.session=s.id"
            " ORDER BY t.session, t.at, t.rowid",
            provider,
            type,
        )
        found: dict[str, list[Transition]] = {}
        for r in rows:
            step = Transition(r["session"], r["at"], State(r["state"]), r["detail"])
            found.setdefault(step.session, []).append(step)
        return found

    # --- runs ---

    def runs(self, session: str) -> list[RunRow]:
        rows = self._rows("SELECT * FROM runs WHERE session=? ORDER BY position", session)
        return [RunRow(**dict(r)) for r in rows]

    def add_run(self, session: str, id: str, name: str, *, spec: str) -> None:
        """A further run of a session that lives, with the spec that has it; its driver is told."""
        with self.together():
            last = max((run.position for run in self.runs(session)), default=-1)
            self._db.execute(
                "INSERT INTO runs (id,session,position,name,status) VALUES (?,?,?,?,'pending')",
                (id, session, last + 1, name),
            )
            self.update(session, spec=spec)
            self.ask(session, "take_up")

    def update_run(self, id: str, **changes: Any) -> None:
        with self._transaction() as db:
            _update(db, "runs", id, changes)

    # --- intents: what costs money is written down before it is asked for ---

    def add_intent(
        self, session: str, verb: str, provider: str, launch_name: str, price: float, account: str = ""
    ) -> int:
        with self._transaction() as db:
            return _add_intent(db, self._clock(), session, verb, provider, launch_name, price, account)

    def begin_launch(self, rental: Rental, detail: str, **changes: Any) -> int:
        """The intent, the ledger's line and the state `launching` in one durable step; the intent's id."""
        now = self._clock()
        with self._transaction() as db:
            of = rental.provider, rental.name, rental.price, rental.account
            number = _add_intent(db, now, rental.session, "launch", *of)
            ledger.insert(db, rental)
            _move(db, rental.session, now, State.LAUNCHING, detail, changes)
            return number

    def settle_intent(self, id: int, outcome: str, instance_id: str | None = None) -> None:
        with self._transaction() as db:
            changes = {"settled": self._clock(), "outcome": outcome}
            if instance_id is not None:
                changes["instance_id"] = instance_id
            _update(db, "intents", id, changes)

    def intents(self, session: str | None = None) -> list[Intent]:
        """All intents, or one session's, oldest first."""
        rows = (
            self._rows("SELECT * FROM intents WHERE session=? ORDER BY id", session)
            if session
            else self._rows("SELECT * FROM intents ORDER BY id")
        )
        return [Intent(**dict(r)) for r in rows]

    # --- requests: what the TUI and the CLI ask of the driver ---

    def ask(self, session: str, verb: str, **args: Any) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT INTO requests (session,at,verb,args) VALUES (?,?,?,?)",
                (session, self._clock(), verb, json.dumps(args)),
            )

    def open_requests(self, session: str) -> list[Request]:
        rows = self._rows("SELECT * FROM requests WHERE session=? AND taken IS NULL ORDER BY id", session)
        return list(map(_request, rows))

    def requests(self, *verbs: str) -> list[Request]:
        """All of these verbs, taken ones too, oldest first."""
        marks = ",".join("?" * len(verbs))
        rows = self._rows(f"SELECT * FROM requests WHERE verb IN ({marks}) ORDER BY id", *verbs)
        return list(map(_request, rows))

    def take_request(self, id: int) -> None:
        with self._transaction() as db:
            _update(db, "requests", id, {"taken": self._clock()})

    def drop_request(self, request: Request, why: str) -> None:
        """It will not be done, or not any more."""
        with self._transaction() as db:
            changes = {"taken": self._clock(), "args": {**request.args, "dropped": why}}
            _update(db, "requests", request.id, changes)

    @property
    def data_version(self) -> int:
        """Changes when another connection has written: cheap to ask several times a second."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        return int(version) + self._db.total_changes

    def _rows(self, sql: str, *args: Any) -> list[sqlite3.Row]:
        return self._db.execute(sql, args).fetchall()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Several writes as one durable step: after a crash all of them hold, or none."""
        with self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._db.in_transaction:  # within `together`
            yield self._db
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _request(row: sqlite3.Row) -> Request:
    return Request(row["id"], row["session"], row["at"], row["verb"], json.loads(row["args"]), row["taken"])


def _session(row: sqlite3.Row) -> SessionRow:
    values = {k: row[k] for k in row.keys()}  # noqa: SIM118 (a Row iterates over values)
    values["state"] = State(values["state"])
    for name in ("offer", "endpoint", "options"):
        values[name] = json.loads(values[name]) if values[name] else None
    return SessionRow(**{field.name: values[field.name] for field in fields(SessionRow)})


def _move(
    db: sqlite3.Connection, id: str, now: float, state: State, detail: str, changes: dict[str, Any]
) -> None:
    (old,) = db.execute("SELECT state FROM sessions WHERE id=?", (id,)).fetchone()
    if state != old and state not in ALLOWED[State(old)]:
        raise SessionError(f"a session cannot go from {old} to {state}")
    _update(db, "sessions", id, {"state": state, "since": now, "detail": detail, **changes})
    db.execute("INSERT INTO transitions VALUES (?,?,?,?)", (id, now, state, detail))


def _add_intent(
    db: sqlite3.Connection,
    now: float,
    session: str,
    verb: str,
    provider: str,
    launch_name: str,
    price: float,
    account: str,
) -> int:
    cursor = db.execute(
        "INSERT INTO intents (session,at,verb,provider,launch_name,price,account) VALUES (?,?,?,?,?,?,?)",
        (session, now, verb, provider, launch_name, price, account),
    )
    return int(cursor.lastrowid or 0)


def _update(db: sqlite3.Connection, table: str, id: str | int, changes: dict[str, Any]) -> None:
    names = ", ".join(f"{name}=?" for name in changes)
    values = [json.dumps(v) if k in _JSON and v is not None else v for k, v in changes.items()]
    done = db.execute(f"UPDATE {table} SET {names} WHERE id=?", (*values, id))
    if done.rowcount != 1:
        raise SessionError(f"no row '{id}' in {table}")
