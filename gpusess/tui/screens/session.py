"""The Session screen: one session's way with its usual times, its instance, what ends it, its runs, and what
went there and came home.
"""

from __future__ import annotations

import time
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.worker import get_current_worker

from gpusess.errors import GpusessError
from gpusess.sessions import traffic
from gpusess.sessions.board import SessionView
from gpusess.sessions.states import ENDED
from gpusess.tui.keys import bindings
from gpusess.tui.panes.log_tail import LogTail
from gpusess.tui.panes.session import Runs, SessionHead, Way
from gpusess.tui.panes.session_instance import Details, Ends, Facts, Sync
from gpusess.tui.reaching import ssh_command
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen

SHALLOW = 20
"""Rows below which the way and the runs take all the room."""
LOOK = 2.0
"""Seconds between two looks at the files of the session."""


class SessionScreen(CockpitScreen):
    """At 80×24 the way, the instance and the runs have room; `tab` and `z` bring the other panes."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("session")
    NEEDS_LOGS: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("session")
        self._details: dict[str, Details] = {}
        self._reached: dict[str, object] = {}
        """Session id → the endpoint that its ssh command was made for."""
        self._measured: dict[str, tuple[float, int]] = {}
        self._asked = ""

    def compose_body(self) -> ComposeResult:
        yield SessionHead(id="session-head")
        with Horizontal(id="session-upper"):
            yield Way(id="way")
            yield Ends(id="ends")
        with Horizontal(id="session-lower"):
            yield Facts(id="facts")
            yield Sync(id="sync")
        yield Runs(id="runs")
        yield LogTail(id="tail")

    def on_mount(self) -> None:
        self.query_one(Way).focus()
        self.set_interval(LOOK, self._look)

    def show(self, scene: Scene) -> None:
        if scene.session and scene.session.row.id != self._asked:
            self._look()
        for lower in self.query("#session-lower"):
            lower.set_class(self.size.height < SHALLOW and not self.zoomed, "-none")
        for runs in self.query(Runs):
            runs.claim(min(6, max(1, len(scene.session.runs) if scene.session else 1)) + 1)
        super().show(scene)

    def details(self, session_id: str) -> Details:
        """What was read of a session last; nothing before it was read at all."""
        return self._details.get(session_id, Details(loading=True))

    def text_to_copy(self) -> str:
        """The ssh command; in a pane that is zoomed, its text."""
        session = self.cockpit.session
        if self.zoomed or not session:
            return super().text_to_copy()
        return ssh_command(self.cockpit, session)

    def _look(self) -> None:
        session = self.cockpit.session
        if self.is_current and session and not self.cockpit.frozen:
            self._asked = session.row.id
            self._read(session)

    @work(thread=True, exclusive=True, exit_on_error=False, group="details")
    def _read(self, session: SessionView) -> None:
        """In a thread: files, and now and then the making of the ssh command."""
        worker, id = get_current_worker(), session.row.id
        found = traffic.read(id, [run.row.id for run in session.runs if run.row.status != "pending"])
        before = self.details(id)
        ssh, why = before.ssh, before.why
        if session.row.endpoint != self._reached.get(id, ...):
            self._reached[id] = session.row.endpoint
            ssh, why = self._reach(session)
        details = Details(found, ssh, why, self._rate(id, found.home))
        if not worker.is_cancelled:
            self.app.call_from_thread(self._take, id, details)

    def _reach(self, session: SessionView) -> tuple[str, str]:
        if session.row.state in ENDED:
            return "", "the instance is gone"
        try:
            return self.cockpit.intents.reach(session.row.id), ""
        except GpusessError as exc:
            return "", f"{exc.message} ({exc.hint})"

    def _rate(self, session_id: str, home: int) -> float | None:
        """Bytes per second since the look before."""
        now = time.monotonic()
        before = self._measured.get(session_id)
        self._measured[session_id] = (now, home)
        if before is None or now - before[0] < LOOK / 2:
            return None
        return max(0.0, (home - before[1]) / (now - before[0]))

    def _take(self, session_id: str, details: Details) -> None:
        self._details[session_id] = details
        self.cockpit.tick()
