"""A run that was recorded, shown again as it came: a board over the same mirrors and the same fold that
reveals each record at its own time. It reads files and nothing else: no provider, no driver, no request.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from dataclasses import replace
from pathlib import Path

from gpusess.analysis.logs import LogBook
from gpusess.analysis.run_state import RunState
from gpusess.sessions.board import FleetView, Replay, RunView, SessionView
from gpusess.sessions.mirror import CHUNK, RunMirror, Tail
from gpusess.sessions.recording import Recording
from gpusess.sessions.replay_clock import ReplayClock
from gpusess.sessions.states import State
from gpusess.sessions.store import RunRow, Transition
from remote_agent.files import JOURNAL

_STAMP = re.compile(rb'"ts":(\d+(?:\.\d+)?)')


class RevealingMirror(RunMirror):
    """A mirror whose records come at their time."""

    def __init__(self, folder: Path, clock: ReplayClock) -> None:
        super().__init__(folder)
        self._clock = clock
        self._waiting: dict[str, deque[bytes]] = {name: deque() for name in self._tails}
        self._reached: dict[str, float] = {}

    def refresh(self, budget: int = 8 * CHUNK) -> bool:
        """Fold what has come by now, at most about `budget` bytes of each journal; True where more has."""
        more = [self._reveal(name, budget) for name in self._tails]
        return any(more)

    def rewind(self) -> None:
        """Begin anew: time has gone back."""
        self.state, self.damage, self._tails = RunState(), "", self._begin()
        self._waiting = {name: deque() for name in self._tails}
        self._reached = {}

    @property
    def next_record(self) -> float | None:
        """When the journal's next record comes; heartbeats do not count. None: all have come."""
        line = self._first(JOURNAL)
        return None if line is None else self._time(JOURNAL, line)

    def _reveal(self, name: str, budget: int) -> bool:
        now, everything = self._clock(), self._clock.at_end
        taken: list[bytes] = []
        while budget > 0 and (line := self._first(name)) is not None:
            at = self._time(name, line)
            if at > now and not everything:
                break
            self._reached[name] = at
            taken.append(self._waiting[name].popleft())
            budget -= len(line)
        if not self.damage:
            self._fold(name, taken)
        return budget <= 0

    def _first(self, name: str) -> bytes | None:
        waiting = self._waiting[name]
        if not waiting:
            waiting.extend(self._tails[name].lines(CHUNK))
        return waiting[0] if waiting else None

    def _time(self, name: str, line: bytes) -> float:
        """When a record comes. A clock that was set back on the instance does not change the order."""
        found = _STAMP.search(line, 0, 120)
        return max(float(found[1]) if found else 0.0, self._reached.get(name, 0.0))


class ReplayBoard:
    """What `Board` is for sessions that live: the same snapshots, of a moment in the past."""

    def __init__(self, recording: Recording, clock: ReplayClock) -> None:
        self.clock = clock
        self._recording = recording
        self._mirrors = {run.id: RevealingMirror(folder, clock) for run, folder in recording.runs}
        self._shown = clock.start
        self._book = _whole_book(recording)
        self._part = LogBook()

    def refresh(self, budget: int = 8 << 20) -> FleetView:
        """A snapshot of the recording's present moment."""
        now = self.clock()
        if now < self._shown:
            for mirror in self._mirrors.values():
                mirror.rewind()
        self._shown = now
        runs = [self._run_view(run, budget, now) for run, _ in self._recording.runs]
        view = self._session_view(runs, now)
        clock = self.clock
        mark = Replay(clock.speed, clock.paused, now - clock.start, clock.end - clock.start)
        version = hash((view.row.state, mark, *(run.state.version for run in runs)))
        behind = any(run.catching_up for run in runs)
        return FleetView([view], now, version=version, catching_up=behind, replay=mark)

    def logs(self, session_id: str) -> LogBook:  # noqa: ARG002 (there is one session)
        """The log lines up to the present moment."""
        lines = self._book.lines
        count = (
            len(lines) if self.clock.at_end else bisect_right(lines, self._shown, key=lambda line: line.ts)
        )
        if count != len(self._part.lines):
            self._part.lines = lines[:count]
            self._part.version += 1
        return self._part

    def skip(self) -> None:
        """Go to the next record of a journal: hours in which nothing happened are passed over."""
        found = [at for mirror in self._mirrors.values() if (at := mirror.next_record) is not None]
        self.clock.seek(max(self.clock(), min(found, default=self.clock.end)))

    def _run_view(self, run: RunRow, budget: int, now: float) -> RunView:
        mirror = self._mirrors[run.id]
        more = mirror.refresh(budget)
        ended = run.ended is not None and run.ended <= now
        status = "pending" if run.started is None or now < run.started else run.status if ended else "running"
        if self.clock.at_end:
            status = run.status
        elif self._recording.bare and mirror.state.outcome:
            status = mirror.state.outcome
        row = replace(run, status=status, ended=run.ended if ended else None)
        return RunView(row, mirror.state, mirror.damage, mirror.folder, more)

    def _session_view(self, runs: list[RunView], now: float) -> SessionView:
        row, everything = self._recording.row, self.clock.at_end
        moves = [move for move in self._recording.transitions if move.at <= now or everything]
        if self._recording.bare and all(run.state.outcome for run in runs):
            moves.append(Transition(row.id, now, State.TERMINATED, ""))
        state = moves[-1].state if moves else State.REQUESTED
        failed = state is State.FAILED
        row = replace(
            row,
            state=state,
            since=moves[-1].at if moves else now,
            detail=moves[-1].detail if moves else "",
            error=row.error if failed else "",
            hint=row.hint if failed else "",
            endpoint=None,
            options={name: value for name, value in row.options.items() if name == "budget"},
        )
        return SessionView(row, moves, runs, driven=True, now=now)


def _whole_book(recording: Recording) -> LogBook:
    book = LogBook()
    for source, path in recording.logs:
        tail = Tail(path, 4 << 20)
        while lines := tail.lines():
            book.add(source, (line.decode("utf-8", "replace") for line in lines))
    return book
