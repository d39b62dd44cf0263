"""How long things took before: medians of earlier sessions on the same provider and instance type."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from gpusess.sessions.states import State
from gpusess.sessions.store import SessionRow, Store


@dataclass(frozen=True, slots=True)
class Usual:
    """The median of `count` earlier durations in seconds; None where there is none."""

    seconds: float | None
    count: int

    def text(self) -> str:
        if self.seconds is None:
            return "no earlier launch of this kind to compare with"
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"earlier ones took {minutes}:{seconds:02} (median of {self.count})"


def usual_boot(store: Store, row: SessionRow) -> Usual:
    """From the launch call until the provider said that it runs."""
    return _usual(store, row.provider, (row.offer or {}).get("name", ""), State.CONNECTING, row.id)


def usual_start(store: Store, provider: str, type: str) -> Usual:
    """From the launch call until the first run could begin."""
    return _usual(store, provider, type, State.READY, "")


def _usual(store: Store, provider: str, type: str, until: State, but: str) -> Usual:
    durations = []
    for session, steps in store.transitions_of(provider, type).items():
        began: float | None = None
        for step in steps if session != but else []:
            if step.state is State.LAUNCHING:
                began = step.at
            elif step.state is until and began is not None:
                durations.append(step.at - began)
                began = None
    return Usual(median(durations) if durations else None, len(durations))


def usual_work(store: Store, job: str, type: str) -> tuple[float, float, int] | None:
    """The shortest, the longest and the number of earlier sessions of a job on an instance type, in seconds
    from the first run's start to the last one's end; None where none is complete.
    """
    durations = []
    for session in store.sessions():
        if session.job != job or (session.offer or {}).get("name") != type:
            continue
        runs = store.runs(session.id)
        starts = [run.started for run in runs if run.started is not None]
        ends = [run.ended for run in runs if run.ended is not None]
        if starts and ends and all(run.status == "complete" for run in runs):
            durations.append(max(ends) - min(starts))
    return (min(durations), max(durations), len(durations)) if durations else None
