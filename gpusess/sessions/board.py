"""What there is to see: sessions, their runs and money, as one snapshot that the TUI and the CLI draw.

The board only reads: the store, the mirrors on disk, and the driver's lock. It computes nothing that the
reducers do not; it keeps the folded states between looks, so that a look costs what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gpusess import paths
from gpusess.analysis.logs import LogBook
from gpusess.analysis.run_state import RunState
from gpusess.sessions import money, strangers
from gpusess.sessions.asks import STEER, STOP_RUN, Asked, not_done
from gpusess.sessions.driver_lock import is_held, lock_path
from gpusess.sessions.ledger import Rental, Sighting
from gpusess.sessions.mirror import RunMirror, Tail
from gpusess.sessions.states import ENDED, LIVE, STARTING, State
from gpusess.sessions.store import Request, RunRow, SessionRow, Store, Transition
from gpusess.sessions.strangers import Stranger
from remote_agent.files import SUPERVISOR_LOG, WORKER_LOG

DRIVER_LOG, SETUP_LOG = "driver.log", "setup.log"
_RUN_LOGS = {"worker": WORKER_LOG, "agent": SUPERVISOR_LOG}

LOG_BYTES = 4 << 20
"""A log is read from that far before its end: the log book keeps about as many lines as that holds."""

REST = 2.0
"""Seconds between looks at an ended session's files: hardly anything happens there."""

STALE_AFTER = 15.0
"""Seconds without a heartbeat after which a running instance's values are shown as stale."""


@dataclass(slots=True)
class RunView:
    """One run as it stands at home."""

    row: RunRow
    state: RunState
    damage: str
    mirror: Path
    catching_up: bool = False
    """Records of this run wait on disk: its newest values are not known yet."""
    asked: list[Asked] = field(default_factory=list)
    """What was asked of it, from wherever, and is not done."""


def waits(row: SessionRow, runs: Iterable[RunRow]) -> bool:
    """Whether a session is kept, with runs that were stopped or have failed: `resume` goes on with them."""
    return row.state is State.READY and any(run.status in ("stopped", "failed") for run in runs)


@dataclass(slots=True)
class SessionView:
    """One session with all that is known of it now."""

    row: SessionRow
    transitions: list[Transition]
    runs: list[RunView]
    driven: bool
    """A process drives this session now. False for a live session: `resume` it."""
    now: float
    rentals: list[Rental] = field(default_factory=list)
    """The session's lines of the ledger, oldest first."""

    @property
    def bills(self) -> bool:
        return money.bills(self.rentals)

    @property
    def spent(self) -> float:
        """US dollars, over all instances of the session."""
        return money.spent(self.rentals, self.now)

    @property
    def run(self) -> RunView | None:
        """The run to look at: the one that runs, else the last that has begun, else the first."""
        begun = [r for r in self.runs if r.row.status != "pending"]
        running = [r for r in begun if r.row.status == "running"]
        chosen = running or begun[-1:] or self.runs[:1]
        return chosen[0] if chosen else None

    @property
    def kind(self) -> str:
        """live, starting, failed or done: what the status bar counts."""
        state = self.row.state
        if state is State.FAILED:
            return "failed"
        if state in ENDED:
            return "done"
        return "starting" if state in STARTING else "live"

    @property
    def needs_driver(self) -> bool:
        """Nobody drives it although there is something to do: it was cut off."""
        return not self.driven and self.row.state in STARTING | LIVE

    @property
    def waits(self) -> bool:
        """See `waits`."""
        return waits(self.row, [run.row for run in self.runs])

    @property
    def stale(self) -> float | None:
        """Seconds since the last heartbeat, where that is too long for a running run; else None."""
        run = self.run
        if not run or run.row.status != "running" or run.state.heartbeat is None or run.catching_up:
            return None
        age = self.now - run.state.heartbeat
        return age if age > STALE_AFTER else None


class Replay(NamedTuple):
    """What is shown is a recording and not the present."""

    speed: float
    """Seconds of the recording in a second."""
    paused: bool
    at: float
    """Seconds from its beginning."""
    length: float


@dataclass(slots=True)
class FleetView:
    """Everything, at one moment."""

    sessions: list[SessionView] = field(default_factory=list)
    now: float = 0.0
    burn: float = 0.0
    """US dollars an hour, failed but still billed instances included."""
    spent_today: float = 0.0
    """US dollars since local midnight, over all sessions."""
    strangers: list[Stranger] = field(default_factory=list)
    """Instances with our tag that nobody here knows, as the providers listed them last."""
    sightings: list[Sighting] = field(default_factory=list)
    """What each provider's list said last."""
    version: int = 0
    """Grows when anything but the time has changed."""
    catching_up: bool = False
    """More records wait on disk than one look may take."""
    replay: Replay | None = None
    """Where this is no present moment but one of a recording."""

    def session(self, session_id: str) -> SessionView | None:
        return next((s for s in self.sessions if s.row.id == session_id), None)

    def count(self, kind: str) -> int:
        return sum(s.kind == kind for s in self.sessions)


class Board:
    """Keeps the folded states and answers with snapshots. One per process; not for several threads."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._mirrors: dict[str, RunMirror] = {}
        self._books: dict[str, _SessionLogs] = {}
        self._locks: dict[str, str] = {}
        self._views: dict[str, SessionView] = {}
        self._rows_version = -1
        self._rows: list[tuple[SessionRow, list[Transition], list[RunRow], list[Rental]]] = []
        self._requests: dict[str, list[Request]] = {}
        self._sightings: list[Sighting] = []
        self._strangers: list[Stranger] = []
        self._version = 0
        self._seen = -1

    def refresh(self, budget: int = 8 << 20) -> FleetView:
        """A snapshot of now. At most about `budget` new bytes of each journal are folded."""
        self._read_rows()
        now = self._clock()
        views = [self._view(*rows, budget, now) for rows in self._rows]
        rentals = [rental for view in views for rental in view.rentals]
        return FleetView(
            views,
            now,
            money.burn(rentals),
            money.spent(rentals, now, since=midnight(now)),
            self._strangers,
            self._sightings,
            self._bump(views),
            any(run.catching_up for view in views for run in view.runs),
        )

    def _view(
        self,
        row: SessionRow,
        transitions: list[Transition],
        runs: list[RunRow],
        rentals: list[Rental],
        budget: int,
        now: float,
    ) -> SessionView:
        before = self._views.get(row.id)
        if before and before.row is row and _rests(before, now):
            return before
        # The path is made once: several looks a second would spend more on it than on the lock.
        lock = self._locks.get(row.id) or self._locks.setdefault(row.id, str(lock_path(row.id)))
        run_views, requests = [], self._requests.get(row.id, [])
        for run in runs:
            mirror = self._mirror(row.id, run.id)
            more = run.status != "pending" and mirror.refresh(budget)
            asked = not_done(requests, run, mirror.state.train, now) if requests else []
            run_views.append(RunView(run, mirror.state, mirror.damage, mirror.folder, more, asked))
        view = SessionView(row, transitions, run_views, is_held(lock), now, rentals)
        self._views[row.id] = view
        return view

    def logs(self, session_id: str) -> LogBook:
        """The session's log lines, merged by time, with what is new since the last call."""
        logs = self._books.get(session_id)
        if logs is None:
            logs = self._books[session_id] = _SessionLogs(session_id)
        logs.refresh([r.id for r in self._store.runs(session_id)])
        return logs.book

    def _read_rows(self) -> None:
        version = self._store.data_version
        if version == self._rows_version:
            return
        self._rows_version = version
        self._sightings = self._store.ledger.sightings()
        self._strangers = strangers.strangers(self._store.ledger, self._sightings)
        self._requests = {}
        for request in self._store.requests(STEER, STOP_RUN):
            self._requests.setdefault(request.session, []).append(request)
        rentals: dict[str, list[Rental]] = {}
        for rental in self._store.ledger.rentals():
            rentals.setdefault(rental.session, []).append(rental)
        self._rows = [
            (row, self._store.transitions(row.id), self._store.runs(row.id), rentals.get(row.id, []))
            for row in self._store.sessions()
        ]

    def _mirror(self, session_id: str, run_id: str) -> RunMirror:
        if run_id not in self._mirrors:
            self._mirrors[run_id] = RunMirror(paths.run_dir(session_id, run_id))
        return self._mirrors[run_id]

    def _bump(self, views: list[SessionView]) -> int:
        states = (mirror.state.version for mirror in self._mirrors.values())
        seen = hash((self._rows_version, *states, *(view.driven for view in views)))
        if seen != self._seen:
            self._seen = seen
            self._version += 1
        return self._version


class _SessionLogs:
    """The log files of one session and the book that they are merged into."""

    def __init__(self, session_id: str) -> None:
        self.book = LogBook()
        self._session_id = session_id
        folder = paths.session_dir(session_id)
        self._tails = {
            ("local", ""): Tail(folder / DRIVER_LOG, LOG_BYTES),
            ("setup", ""): Tail(folder / SETUP_LOG, LOG_BYTES),
        }

    def refresh(self, run_ids: list[str]) -> None:
        for run_id in run_ids:
            for source, name in _RUN_LOGS.items():
                if (source, run_id) not in self._tails:
                    path = paths.run_dir(self._session_id, run_id) / name
                    self._tails[source, run_id] = Tail(path, LOG_BYTES)
        for (source, run_id), tail in self._tails.items():
            if tail.replaced:
                tail = self._tails[source, run_id] = Tail(tail.path, LOG_BYTES)
            while lines := tail.lines():
                self.book.add(source, (line.decode("utf-8", "replace") for line in lines))


def _rests(view: SessionView, now: float) -> bool:
    """Whether an ended session's last look is recent enough, and saw all there was."""
    catching_up = any(run.catching_up for run in view.runs)
    return view.row.state in ENDED and not catching_up and now - view.now < REST


def midnight(now: float) -> float:
    """The last local midnight, in seconds since the epoch."""
    local = time.localtime(now)
    return time.mktime((local.tm_year, local.tm_mon, local.tm_mday, 0, 0, 0, 0, 0, -1))
