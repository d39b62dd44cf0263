"""The ledger: a line for every instance that was ever asked for, with its price and its end. All sums of
money are made from these lines. It also keeps what the providers' lists last said, and which unknown
instances the user wants to see no more. It lives in the store's file and calls no provider.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

from gpusess.providers.base import Endpoint, Instance, InstanceStatus

SCHEMA = """
CREATE TABLE IF NOT EXISTS rentals (
    name TEXT PRIMARY KEY, session TEXT NOT NULL, provider TEXT NOT NULL, account TEXT NOT NULL,
    asked REAL NOT NULL, price REAL NOT NULL, offer TEXT NOT NULL, deadline REAL,
    instance_id TEXT, seen REAL, ended REAL, outcome TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS rentals_of ON rentals (session, asked);
CREATE TABLE IF NOT EXISTS sightings (
    provider TEXT NOT NULL, account TEXT NOT NULL, at REAL NOT NULL, tried REAL NOT NULL,
    error TEXT NOT NULL, instances TEXT NOT NULL, PRIMARY KEY (provider, account)
);
CREATE TABLE IF NOT EXISTS ignored (
    provider TEXT NOT NULL, instance_id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (provider, instance_id)
);
"""


@dataclass(slots=True)
class Rental:
    """One instance of ours, or the attempt to launch one. Times are seconds since the epoch."""

    name: str
    """The unique name in the launch call."""
    session: str
    provider: str
    account: str
    """The fingerprint of the key that it was launched with."""
    asked: float
    """When the launch was intended: billing begins no earlier."""
    price: float
    """US dollars an hour."""
    offer: dict[str, Any] = field(default_factory=dict)
    deadline: float | None = None
    """What the provider, the instance or a reaper was told as its latest end."""
    instance_id: str | None = None
    seen: float | None = None
    """When the provider first listed it: from then on, not being listed means something."""
    ended: float | None = None
    """When it was known that it bills no more, or that it never did."""
    outcome: str = "asked"
    """asked, launched, adopted, ended, absent, or `refused: …`."""

    @property
    def existed(self) -> bool:
        return not self.outcome.startswith(("refused", "absent"))

    @property
    def bills(self) -> bool:
        """Whether it may be billing; a launch without an answer may be."""
        return self.existed and self.ended is None


@dataclass(slots=True)
class Sighting:
    """What a provider's list said the last time that it answered. `error`: of the last try; empty: none."""

    provider: str
    account: str
    at: float
    """When it last answered; 0: never."""
    tried: float
    error: str
    instances: list[Instance]


Rows = Callable[..., list[sqlite3.Row]]
Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]


class Ledger:
    """Reads and writes the lines. `rows` and `transaction` are the store's."""

    def __init__(self, rows: Rows, transaction: Transaction) -> None:
        self._rows = rows
        self._transaction = transaction

    def rentals(self, session: str | None = None) -> list[Rental]:
        """All lines, or one session's, oldest first."""
        rows = (
            self._rows("SELECT * FROM rentals WHERE session=? ORDER BY asked, name", session)
            if session is not None
            else self._rows("SELECT * FROM rentals ORDER BY asked, name")
        )
        return [_rental(row) for row in rows]

    def rental(self, name: str) -> Rental | None:
        rows = self._rows("SELECT * FROM rentals WHERE name=?", name)
        return _rental(rows[0]) if rows else None

    def add(self, rental: Rental) -> None:
        with self._transaction() as db:
            insert(db, rental)

    def change(self, name: str, **changes: Any) -> None:
        """Change columns of a line; a line that is not there (an older store's) is left alone."""
        names = ", ".join(f"{column}=?" for column in changes)
        with self._transaction() as db:
            db.execute(f"UPDATE rentals SET {names} WHERE name=?", (*changes.values(), name))

    # --- what the providers say ---

    def sightings(self) -> list[Sighting]:
        return [_sighting(row) for row in self._rows("SELECT * FROM sightings ORDER BY provider, account")]

    def saw(self, provider: str, account: str, at: float, instances: list[Instance]) -> None:
        """The provider has answered: its list replaces the one before."""
        content = json.dumps([asdict(instance) for instance in instances])
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO sightings VALUES (?,?,?,?,'',?)", (provider, account, at, at, content)
            )

    def missed(self, provider: str, account: str, at: float, error: str) -> None:
        """The provider has not answered: what it said before stays, with its age."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO sightings VALUES (?,?,0,?,?,'[]') ON CONFLICT (provider, account)"
                " DO UPDATE SET tried=excluded.tried, error=excluded.error",
                (provider, account, at, error),
            )

    def ignored(self) -> set[tuple[str, str]]:
        """(provider, instance id) of the unknown instances that the user does not want to see."""
        return {(row["provider"], row["instance_id"]) for row in self._rows("SELECT * FROM ignored")}

    def ignore(self, provider: str, instance_id: str, at: float) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO ignored VALUES (?,?,?)", (provider, instance_id, at))


def insert(db: sqlite3.Connection, rental: Rental) -> None:
    """Write a new line inside a transaction that is open."""
    values = {**asdict(rental), "offer": json.dumps(rental.offer)}
    marks = ",".join("?" for _ in values)
    db.execute(f"INSERT INTO rentals ({','.join(values)}) VALUES ({marks})", tuple(values.values()))


def backfill(db: sqlite3.Connection) -> None:
    """Lines for the sessions of a store that was written before there was a ledger."""
    for row in list(db.execute("SELECT * FROM sessions WHERE launched IS NOT NULL OR spent_before > 0")):
        if row["spent_before"] > 0:
            before = Rental(f"{row['id']}-before", row["id"], row["provider"], "", row["created"], 0.0)
            before.price, before.ended, before.outcome = row["spent_before"], row["created"] + 3600, "ended"
            insert(db, before)
        if row["launched"] is not None:
            name = row["launch_name"] or f"{row['id']}-launch"
            offer = json.loads(row["offer"] or "{}")
            rental = Rental(name, row["id"], row["provider"], "", row["launched"], row["price"], offer)
            rental.instance_id, rental.seen, rental.ended = row["instance_id"], row["launched"], row["ended"]
            rental.outcome = "ended" if row["ended"] is not None else "launched"
            insert(db, rental)


def _rental(row: sqlite3.Row) -> Rental:
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 (a Row iterates over values)
    return Rental(**{**values, "offer": json.loads(values["offer"])})


def _sighting(row: sqlite3.Row) -> Sighting:
    instances = list(_instances(json.loads(row["instances"])))
    return Sighting(row["provider"], row["account"], row["at"], row["tried"], row["error"], instances)


def _instances(values: list[dict[str, Any]]) -> Iterator[Instance]:
    for value in values:
        endpoint = Endpoint(**value["endpoint"]) if value["endpoint"] else None
        yield Instance(**{**value, "endpoint": endpoint, "status": InstanceStatus(value["status"])})
