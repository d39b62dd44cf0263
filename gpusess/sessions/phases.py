"""A session's way as a person sees it: a few phases, each of one or more states, with when they began and how
long they took, and how long they usually take. Pure functions over what the store keeps of the transitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

from gpusess.sessions.board import SessionView
from gpusess.sessions.states import State

_PHASES: dict[State, str] = {
    State.REQUESTED: "launch",
    State.LAUNCHING: "launch",
    State.BOOTING: "boot",
    State.CONNECTING: "connect",
    State.PREPARING: "prepare",
    State.READY: "run",
    State.RUNNING: "run",
    State.DRAINING: "pull",
    State.TERMINATING: "end",
}
NAMES = tuple(dict.fromkeys(_PHASES.values()))

OF_THE_JOB = frozenset({"run", "pull"})
"""Phases whose length hangs on the job; the others' hangs on the provider and the instance type."""


class Phase(NamedTuple):
    """`seconds` is None where the phase has not begun; one that was gone through again counts all times."""

    name: str
    seconds: float | None
    mark: str
    """past, present, failed or future."""
    began: float | None = None
    """When it first began, in seconds since the epoch."""
    times: int = 0
    """How often it was entered."""
    detail: str = ""
    """What the newest transition into it says."""


def phases(session: SessionView) -> list[Phase]:
    """All phases in order; the present one is measured up to the board's now."""
    found: dict[str, Phase] = {}
    present, mark, before = "", "present", ""
    moves = session.transitions
    for move, after in zip(moves, [*moves[1:], None], strict=True):
        name = _PHASES.get(move.state)
        if name is None:
            # A failure leaves the phase before it as the place where it happened.
            mark, before = "failed" if move.state is State.FAILED else "past", ""
            continue
        end = after.at if after else session.now
        known = found.get(name, Phase(name, 0.0, "past", move.at))
        found[name] = known._replace(
            seconds=(known.seconds or 0.0) + max(0.0, end - move.at),
            times=known.times + (name != before),
            detail=move.detail or known.detail,
        )
        present, mark, before = name, "present", name
    found = {**found, **({present: found[present]._replace(mark=mark)} if present else {})}
    return [found.get(name, Phase(name, None, "future")) for name in NAMES]


class Usual(NamedTuple):
    """The median of so many earlier sessions, in seconds."""

    seconds: float
    sessions: int


def usual(session: SessionView, others: Iterable[SessionView]) -> dict[str, Usual]:
    """How long each phase took in other sessions that went through it once and to its end.

    Those of the same provider and instance type, for the phases in OF_THE_JOB also of the same job; phases
    without any are left out.
    """
    offer = (session.row.offer or {}).get("name")
    alike = [o for o in others if _alike(o, session, offer)] if offer else []
    durations: dict[str, list[float]] = {}
    for other in alike:
        for phase in phases(other):
            of_another_job = phase.name in OF_THE_JOB and other.row.job != session.row.job
            if phase.mark == "past" and phase.times == 1 and phase.seconds is not None and not of_another_job:
                durations.setdefault(phase.name, []).append(phase.seconds)
    return {name: Usual(median(some), len(some)) for name, some in durations.items()}


def _alike(other: SessionView, session: SessionView, offer: str) -> bool:
    same = other.row.provider == session.row.provider and (other.row.offer or {}).get("name") == offer
    return same and other.row.id != session.row.id
