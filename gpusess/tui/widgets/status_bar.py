"""The rows that every screen has: the status bar, the tabs, the alarms and the footer. The status bar is
always true: it says itself where the display is frozen or still catching up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from textual import events

from gpusess.sessions.board import Replay
from gpusess.tui import fmt, status
from gpusess.tui.keys import Key, shown
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, crop, joined, plain, spread
from gpusess.tui.spans import width as cell_width
from gpusess.tui.widgets.meter import bar
from gpusess.tui.widgets.pane import Pane

_COUNTS = (("live", "●", "ok"), ("starting", "◐", "info"), ("failed", "✗", "err"))


def status_line(scene: Scene, cells: int) -> Line:
    """Counts, burn and the day's budget, with as much detail as there is room for."""
    left = joined([_name(), *_counts(scene, long=cells >= 100)], "   " if cells >= 100 else "  ", "")
    money = [] if scene.fleet.replay else _money(scene, cells)
    right = joined([_badge(scene), money], "   ", "")
    return spread(left, [*right, (" ", "")], cells)


def _name() -> Line:
    return [(" gpusess", "bold")]


def _counts(scene: Scene, long: bool) -> list[Line]:
    found = []
    for kind, glyph, ink in _COUNTS:
        number = scene.fleet.count(kind)
        if number:
            found.append([(f"{glyph} {number}", f"{ink} bold"), (f" {kind}" if long else "", ink)])
    return found


def _badge(scene: Scene) -> Line:
    if scene.fleet.replay:
        return _replay(scene.fleet.replay, scene.fleet.catching_up)
    if scene.frozen:
        return [(" FROZEN ", "warn bold reverse")]
    return [("catching up…", "info")] if scene.fleet.catching_up else []


def _replay(replay: Replay, behind: bool) -> Line:
    """Nobody may take it for the present: where it is in the recording, and how fast it goes."""
    ended = replay.at >= replay.length
    pace = (
        "catching up…"
        if behind
        else "at its end"
        if ended
        else "stands still"
        if replay.paused
        else f"{replay.speed:g}× as fast"
    )
    return [
        (" REPLAY ", "info bold reverse"),
        (f" {fmt.clock(replay.at)} / {fmt.clock(replay.length)}", "bold"),
        (f"  {pace}", "info"),
    ]


def _money(scene: Scene, cells: int) -> Line:
    fleet, limit = scene.fleet, scene.day_budget
    burn: Line = [(f"{fmt.money(fleet.burn)}/h", "bold" if fleet.burn else "dim")]
    today: Line = [("today ", "dim"), (fmt.money(fleet.spent_today), "")]
    if not limit:
        return joined([burn, today], "   ", "")
    share = fleet.spent_today / limit
    ink = "err" if share > 1 else "warn" if share > 0.8 else "ok"
    today += [(f" of {fmt.money(limit)} ", "dim"), *bar(share, 14 if cells >= 100 else 6, ink)]
    left = (limit - fleet.spent_today) / fleet.burn * 3600 if fleet.burn else None
    runway: Line = [(fmt.clock(left), ""), (" left", "dim")] if left and left > 0 and cells >= 116 else []
    return joined([burn, today, runway], "   ", "")


def _here(scene: Scene) -> str | None:
    """The session that keys act on."""
    return scene.session.row.id if scene.session else None


class StatusBar(Pane, can_focus=False):
    def key(self, scene: Scene) -> Hashable:
        return scene.fleet.version, scene.second, scene.frozen, scene.fleet.catching_up, scene.fleet.replay

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        return [status_line(scene, width)]


class TinyLine(Pane, can_focus=False):
    """All there is in a terminal that is too small for a screen: money, counts, alarms."""

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        found = list(status.alarms(scene.fleet, scene.day_budget, _here(scene)))
        counts = joined(_counts(scene, long=False), " ", "")
        burn: Line = [(f"{fmt.money(scene.fleet.burn)}/h", "bold")]
        first = crop(joined([burn, counts, [("no sessions", "dim")] if not counts else []], "  ", ""), width)
        alarm: list[Line] = [crop([(text, ink)], width) for ink, text in found]
        return [first, *alarm][:height]


_TABS = ((3, True, True), (1, True, True), (1, False, True), (1, False, False))
"""Less and less of the tabs: the gap between them, those without a number, the names of the others."""


class Tabs(Pane, can_focus=False):
    """The screens that there are, and where one is: the session and its run, and its place among all."""

    def key(self, scene: Scene) -> Hashable:
        session = scene.session
        run = scene.run.row.id if scene.run else None
        return scene.fleet.version, session.row.id if session else None, run, self.screen.id

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        for self._gap, self._every, self._named in _TABS:
            tabs = self._line()
            for trail in self._trails(scene):
                if cell_width(tabs) + cell_width(trail) < width:
                    return [spread(tabs, [*trail, (" ", "")], width)]
        return [crop(tabs, width)]

    def on_click(self, event: events.Click) -> None:
        at = 1
        for key in self._tabs():
            end = at + len(f"{shown(key.keys)} {self._label(key)}") + self._gap
            if at <= event.x < end:
                self.run_worker(self.app.run_action(key.action, self.screen), exit_on_error=False)
            at = end

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._gap = 3
        self._named = self._every = True
        """Those without a number too, and not only where one is on them."""

    def _line(self) -> Line:
        line: Line = [(" ", "")]
        for key in self._tabs():
            here = key.id == f"screen.{self.screen.id}"
            line += [
                (f"{shown(key.keys)} ", "dim"),
                (self._label(key), "data bold reverse" if here else ""),
                (" " * self._gap, ""),
            ]
        return line

    def _label(self, key: Key) -> str:
        return key.label if self._named or key.id == f"screen.{self.screen.id}" else ""

    def _tabs(self) -> list[Key]:
        found = [key for key in self.cockpit.keys.of("app") if key.id.startswith("screen.")]
        here = f"screen.{self.screen.id}"
        return [key for key in found if self._every or key.keys.isdigit() or key.id == here]

    def _trails(self, scene: Scene) -> Iterator[Line]:
        """Where one is, with less and less of it."""
        session = scene.session
        if not session:
            yield []
            return
        order = [s.row.id for s in scene.fleet.sessions]
        place = f"   {order.index(session.row.id) + 1}/{len(order)}" if session.row.id in order else ""
        name: Line = [(session.row.name, "bold")]
        run: Line = [(scene.run.row.name, "")] if scene.run else []
        yield [*joined([name, run], " › "), (place, "dim")]
        yield [*name, (place.replace("   ", " "), "dim")]
        yield crop(name, 16)


class AlarmLine(Pane, can_focus=False):
    """What somebody should know of, the worst first; takes no room where there is nothing."""

    def show(self, scene: Scene) -> None:
        self.set_class(not any(True for _ in status.alarms(scene.fleet, scene.day_budget)), "-none")
        super().show(scene)

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        found = list(status.alarms(scene.fleet, scene.day_budget, _here(scene)))
        line: Line = []
        for i, (ink, text) in enumerate(found):
            more = f"   +{len(found) - i - 1} more" if i + 1 < len(found) else ""
            candidate: Line = [*line, ("   " if line else " ", ""), (text, ink)]
            if line and cell_width(candidate) + len(more) > width:
                return [spread(line, [(f"+{len(found) - i} more ", "dim")], width)]
            line = candidate
        return [crop(line, width)]


class KeyBar(Pane, can_focus=False):
    """The keys that do something here and now, as many as fit."""

    def key(self, _scene: Scene) -> Hashable:
        return tuple(part for part in self._parts())

    def draw(self, _scene: Scene, width: int, _height: int) -> list[Line]:
        line: Line = []
        for key, label, _ in self._parts():
            part: Line = [(f" {key}", "data bold"), (f" {label} ", "")]
            if len(plain(line)) + len(plain(part)) > width:
                break
            line += part
        return [line]

    def on_click(self, event: events.Click) -> None:
        at = 0
        for key, label, action in self._parts():
            end = at + len(f" {key} {label} ")
            if at <= event.x < end:
                self.run_worker(self.app.run_action(action, self.screen), exit_on_error=False)
            at = end

    def _parts(self) -> list[tuple[str, str, str]]:
        app = self.cockpit
        return [
            (shown(key.keys), key.label, key.action)
            for key in app.keys.footer(str(self.screen.id))
            if app.possible(key.action)
        ]
