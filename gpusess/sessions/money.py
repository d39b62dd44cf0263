"""What sessions have cost and what they cost now. Pure arithmetic on the store's rows."""

from __future__ import annotations

from gpusess.sessions.states import ENDED
from gpusess.sessions.store import RunRow, SessionRow


def bills(session: SessionRow) -> bool:
    """Whether an instance of this session may be billing now; a failed session with an instance does."""
    return session.launched is not None and session.ended is None and session.state not in ENDED


def spent(session: SessionRow, now: float) -> float:
    """US dollars from every launch of the session to its end, or to `now`."""
    if session.launched is None:
        return session.spent_before
    end = session.ended if session.ended is not None else now
    return session.spent_before + session.price * max(0.0, end - session.launched) / 3600


def burn(sessions: list[SessionRow]) -> float:
    """US dollars an hour over all sessions, failed but still billed ones included."""
    return sum(s.price for s in sessions if bills(s))


def spent_since(session: SessionRow, start: float, now: float) -> float:
    """US dollars from `start` on; earlier instances count if the session began after it."""
    if session.launched is None:
        return session.spent_before if session.created >= start else 0.0
    end = session.ended if session.ended is not None else now
    running = session.price * max(0.0, end - max(start, session.launched)) / 3600
    return running + (session.spent_before if session.created >= start else 0.0)


def run_spent(session: SessionRow, run: RunRow, now: float) -> float:
    """US dollars that the instance has cost while the run ran, at the session's present price."""
    if run.started is None:
        return 0.0
    end = run.ended if run.ended is not None else now
    return session.price * max(0.0, end - run.started) / 3600
