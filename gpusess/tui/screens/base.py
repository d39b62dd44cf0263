"""What all screens share: the frame around the body, zooming, and handing the scene to what is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widget import Widget

from gpusess.sessions.board import SessionView
from gpusess.sessions.phases import Usual, usual
from gpusess.sessions.strangers import Stranger
from gpusess.tui.painting import TightCompositor
from gpusess.tui.scene import Scene
from gpusess.tui.widgets.log_view import LogView
from gpusess.tui.widgets.pane import Pane
from gpusess.tui.widgets.row_table import RowTable
from gpusess.tui.widgets.status_bar import AlarmLine, KeyBar, StatusBar, Tabs, TinyLine
from gpusess.tui.widgets.text_view import TextView

if TYPE_CHECKING:
    from gpusess.tui.app import CockpitApp

LineWidget = Pane | RowTable | LogView | TextView


class CockpitScreen(Screen[None], inherit_bindings=False):
    """Status bar, tabs, a body of panes, alarms, footer."""

    NEEDS_LOGS: ClassVar[bool] = False

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._compositor = TightCompositor()
        self.zoomed: Widget | None = None
        self._usual: dict[str, tuple[object, dict[str, Usual]]] = {}

    @property
    def cockpit(self) -> CockpitApp:
        return cast("CockpitApp", self.app)

    @property
    def needs_logs(self) -> bool:
        """Whether the scene must have the session's log lines."""
        return self.NEEDS_LOGS

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Tabs(id="tabs")
        with Vertical(id="body"):
            yield from self.compose_body()
        yield AlarmLine(id="alarms")
        yield KeyBar(id="keybar")
        yield TinyLine(id="tiny")

    def compose_body(self) -> ComposeResult:
        """The panes."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        self.cockpit.tick()

    def show(self, scene: Scene) -> None:
        """Hand a scene to every pane."""
        # By type: this runs all the time, and matching selectors costs more.
        for pane in self.walk_children(Pane):
            pane.show(scene)

    def has(self, *selectors: str) -> bool:
        """Whether all of them are composed. What was found is known; a query would look at every widget."""
        try:
            for selector in selectors:
                self.query_one(selector)
        except NoMatches:
            return False
        return True

    def panes(self) -> list[LineWidget]:
        """What takes the focus, in reading order."""
        found = (w for w in self.query("#body *") if isinstance(w, LineWidget))
        return [w for w in found if w.can_focus and w.id != "filter" and not w.has_class("-none")]

    def forget(self) -> None:
        """Draw everything anew."""
        for widget in self.query(Widget):
            if isinstance(widget, LineWidget):
                widget.forget()

    def go_back(self) -> bool:
        """Undo one thing (a zoom, a filter); False where there is nothing to undo."""
        if self.zoomed:
            self.zoom(None)
            return True
        return False

    def cycle(self, step: int) -> None:
        """Focus the next pane; with a zoom, zoom it, hidden ones included."""
        every = self.panes()
        panes = every if self.zoomed else [p for p in every if p.display and p.region]
        if not panes:
            return
        here = panes.index(self.focused) if self.focused in panes else -step
        chosen = panes[(here + step) % len(panes)]
        if self.zoomed:
            self.zoom(chosen)
        chosen.focus()

    def zoom(self, pane: Widget | None) -> None:
        """Show one pane alone, or all again."""
        self.zoomed = pane
        self.set_class(pane is not None, "-zoomed")
        kept = set(pane.ancestors_with_self) if pane else set()
        for widget in self.query("#body *"):
            widget.set_class(widget in kept, "-kept")

    @property
    def stranger(self) -> Stranger | None:
        """The unknown instance that keys act on."""
        found = self.cockpit.fleet.strangers
        return found[0] if found else None

    def usual(self, session: SessionView) -> dict[str, Usual]:
        """How long each phase usually takes; reckoned anew only when a session has come, gone or moved on."""
        others = self.cockpit.fleet.sessions
        of = (session.row.since, len(others), sum(other.kind == "done" for other in others))
        known = self._usual.get(session.row.id)
        if known is None or known[0] != of:
            known = self._usual[session.row.id] = (of, usual(session, others))
        return known[1]

    def can(self, action: str) -> bool:  # noqa: ARG002 (screens look at it)
        """Whether an action of this screen does something now: else footer and palette leave it out."""
        return True

    def text_to_copy(self) -> str:
        """What `copy` takes when it is not the ssh command."""
        focused = self.focused
        return focused.text if isinstance(focused, LineWidget) else ""
