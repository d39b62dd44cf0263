"""What a tick hands to the panes: the fleet, the session that is looked at, and its log lines."""

from __future__ import annotations

from dataclasses import dataclass

from gpusess.analysis.logs import LogBook
from gpusess.sessions.board import FleetView, RunView, SessionView


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment, as panes see it."""

    fleet: FleetView
    session: SessionView | None
    book: LogBook | None = None
    """Only where the screen shows log lines."""
    day_budget: float | None = None
    frozen: bool = False
    chosen: RunView | None = None
    """The run that a screen was asked to show in the place of the session's own."""

    @property
    def run(self) -> RunView | None:
        return self.chosen or (self.session.run if self.session else None)

    @property
    def second(self) -> int:
        return int(self.fleet.now)
