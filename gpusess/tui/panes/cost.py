"""The Cost screen's panes: the day and its budget, limits of sessions, what the providers say themselves, and
what bills beside instances. The sums are `gpusess.sessions.spending`'s.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gpusess.analysis.text import clean
from gpusess.sessions import spending
from gpusess.sessions.board import FleetView, SessionView
from gpusess.sessions.leftovers import Found, sentence
from gpusess.sessions.spending import By, Listed, Sum
from gpusess.tui import fmt, hints, status
from gpusess.tui.panes.spend import budget_lines, spend_chart
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit, joined, spread, wrapped
from gpusess.tui.widgets.line_chart import Look
from gpusess.tui.widgets.meter import bar
from gpusess.tui.widgets.pane import Pane
from gpusess.tui.widgets.row_table import Column

if TYPE_CHECKING:
    from gpusess.tui.screens.cost import CostScreen

VIEWS: tuple[By, ...] = ("session", "provider", "day", "instance")
PERIODS = {"all time": None, "today": 1, "7 days": 7, "30 days": 30}
"""Name → days, today being one of them."""

_NUMBERS = (
    Column("SPENT $", 8, 10, 0, "right"),
    Column("SHARE", 12, 12, 3),
    Column("$/H NOW", 7, 8, 1, "right"),
    Column("INST", 4, 5, 6, "right"),
)
COLUMNS: dict[By, tuple[Column, ...]] = {
    "session": (
        Column("SESSION", 14, 26, 0, stretch=True),
        *_NUMBERS,
        Column("$/1K", 7, 8, 2, "right"),
        Column("AT END $", 9, 9, 4, "right"),
        Column("BUDGET $", 9, 12, 5, "right"),
        Column("STATE", 13, 14, 7),
    ),
    "provider": (Column("PROVIDER", 14, 26, 0, stretch=True), *_NUMBERS),
    "day": (Column("DAY", 14, 26, 0, stretch=True), *_NUMBERS),
    "instance": (Column("INSTANCE", 14, 40, 0, stretch=True), *_NUMBERS),
}


def row_cells(row: Sum, by: By, total: float, view: SessionView | None) -> list[Line]:
    """A row of the table. `total`: the dollars of all rows, which the bar shows a share of."""
    ink = "" if row.burn or by == "day" else "dim"
    cells: list[Line] = [
        [(_day(row.name) if by == "day" else row.name, "bold")],
        [(f"{row.spent:,.2f}", ink)],
        _share(row.spent / total if total else 0.0),
        [(f"{row.burn:.2f}" if row.burn else fmt.NONE, "bold" if row.burn else "dim")],
        [(str(row.instances), "dim")],
    ]
    return [*cells, *_of_session(view)] if by == "session" else cells


def _share(share: float) -> Line:
    return [*bar(share, 7, "data"), (f"{share * 100:>4.0f}%", "dim")]


def _of_session(view: SessionView | None) -> list[Line]:
    if view is None:
        return [[], [], [], []]
    thousand, end = spending.per_thousand(view), spending.at_the_end(view)
    budget = view.row.options.get("budget")
    over = end is not None and budget is not None and end > budget
    return [
        [(f"{thousand:,.2f}" if thousand is not None else fmt.NONE, "" if thousand is not None else "dim")],
        [(f"{'▲ ' if over else ''}{end:,.2f}" if end is not None else fmt.NONE, "err" if over else "")],
        [(f"{budget:,.2f}" if budget is not None else fmt.NONE, "" if budget is not None else "dim")],
        status.of(view).line(),
    ]


def _day(day: str) -> str:
    return time.strftime("%a %d %b", time.localtime(spending.day_start(day)))


@dataclass(frozen=True, slots=True)
class Beside:
    """What the providers said of what bills beside instances."""

    found: tuple[Found, ...] = ()
    at: float | None = None
    """When they said it; None: never yet."""
    asking: float | None = None
    """Since when they are being asked; None: they are not."""


def beside_lines(beside: Beside, now: float, cells: int) -> list[Line]:
    """Volumes and the like that go on billing without an instance; and who could not be asked."""
    lines: list[Line] = []
    again = hints.ways(("cost.ask", "asks again"))
    if beside.asking is not None:
        waits = f"asking the providers, {fmt.age(now - beside.asking)} (at most 45 s)"
        lines.append([(f"◐ {waits}", "info")])
    if beside.at is None:
        return lines or [[(f"nobody has been asked{hints.ways(('cost.ask', 'asks'))}", "dim")]]
    items = [(answer.provider, item) for answer in beside.found for item in answer.items]
    for provider, item in items:
        name = "ours" if item.ours else "not ours"
        text = f"▲ {provider}: {clean(sentence(item))}, {name}"
        lines += wrapped(text, "warn", cells, 3)
    if not items:
        lines.append([("✓ nothing bills beside instances", "ok")])
    for answer in beside.found:
        if answer.error:
            lines += wrapped(f"✗ {answer.provider}: {answer.error}{again}", "err", cells, 3)
    if not beside.found:
        lines = [*lines[:-1], [("no provider with a key has such things", "dim")]]
    lines.append([(f"as of {fmt.of_day(beside.at)}, {fmt.age(now - beside.at)} ago", "dim")])
    return lines


def listed_lines(found: Sequence[Listed], now: float, cells: int) -> list[Line]:
    """Each provider's own figure beside the ledger's."""
    if not found:
        return [[("no provider was asked for its list so far", "dim")]]
    return [line for one in found for line in _listed(one, now, cells)]


def _listed(one: Listed, now: float, cells: int) -> list[Line]:
    if not one.at:
        return wrapped(f"✗ {one.provider}: {one.error or 'never answered'}", "err", cells, 2)
    many = fmt.many(one.instances, "instance")
    theirs: Line = [(f"{one.provider:<11}", "bold"), (many, ""), (f" at {fmt.money(one.theirs)}/h", "")]
    age: Line = [(f"{fmt.age(now - one.at)} ago", "warn" if now - one.at > 3600 or one.error else "dim")]
    if one.differs:
        more = one.theirs - one.ours
        word = "more" if more > 0 else "less"
        verdict = f"  ▲ {fmt.money(abs(more))}/h {word} than our ledger held"
        lines = [spread(theirs, age, cells), *wrapped(verdict, "warn", cells, 2)]
    else:
        lines = [spread([*theirs, ("  ✓ as our ledger held", "ok")], age, cells)]
    if one.error:
        lines += wrapped(f"  ✗ the last try: {one.error}", "err", cells, 2)
    return lines


class CostPane(Pane, can_focus=True):
    @property
    def cost(self) -> CostScreen:
        return cast("CostScreen", self.screen)


class Today(CostPane):
    """The day's budget in words, and its chart below where there is room."""

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        self.entitle("Today")
        lines = budget_lines(scene, width)
        room = height - len(lines) - 1
        if room >= 6:
            look = Look("off", braille=not self.cockpit.inks.ascii)
            lines += [[], *spend_chart(scene, width, room, look)]
        return lines[:height]


class Listings(CostPane):
    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        self.entitle("As the providers list it")
        return listed_lines(spending.listed(scene.fleet), scene.fleet.now, width)[:height]


class BesidePane(CostPane):
    def key(self, scene: Scene) -> Hashable:
        return scene.second, self.cost.beside

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        self.entitle("Bills beside instances")
        return beside_lines(self.cost.beside, scene.fleet.now, width)[:height]


class Days(CostPane):
    """The last days as bars: only in a large terminal."""

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        self.entitle("The last days")
        days = spending.sums(scene.fleet, "day", spending.days_back(scene.fleet.now, 60))[-height:]
        top = max((day.spent for day in days), default=0.0)
        cells = max(4, width - 26)
        lines: list[Line] = []
        for day in reversed(days):
            over = bool(scene.day_budget) and day.spent > (scene.day_budget or 0.0)
            lines.append(
                [
                    *fit([(_day(day.name), "dim")], 11),
                    *bar(day.spent / top if top else 0.0, cells, "warn" if over else "data"),
                    *fit([("▲ " if over else "", "warn"), (fmt.money(day.spent), "bold")], 12, "right"),
                ]
            )
        return lines or [[("nothing was spent", "dim")]]


class CostHead(CostPane, can_focus=False):
    """The three figures that matter, and what the table sums up."""

    def key(self, scene: Scene) -> Hashable:
        return super().key(scene), self.cost.by, self.cost.period

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        fleet: FleetView = scene.fleet
        total = sum(view.spent for view in fleet.sessions)
        parts: list[Line] = [
            [("now ", "dim"), (f"{fmt.money(fleet.burn)}/h", "bold")],
            [("today ", "dim"), (fmt.money(fleet.spent_today), "bold")],
            [("in all ", "dim"), (fmt.money(total), "bold")],
        ]
        shown: Line = [
            ("by ", "dim"),
            (self.cost.by, "data bold"),
            (", ", "dim"),
            (self.cost.period, "data bold"),
        ]
        return [spread(joined(parts, "   ", ""), shown, width)]
