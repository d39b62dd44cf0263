"""Today's spending against the day's budget, with what it comes to by midnight at the present rate."""

from __future__ import annotations

from collections.abc import Hashable

from gpusess.sessions import spending
from gpusess.sessions.board import midnight
from gpusess.tui import fmt
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, joined
from gpusess.tui.widgets.line_chart import Axes, Look, Point, Scale, nice_step, plot
from gpusess.tui.widgets.meter import bar
from gpusess.tui.widgets.pane import Pane

HOUR = 3600.0


def budget_lines(scene: Scene, cells: int) -> list[Line]:
    """Spent, the projection, and when the budget is spent."""
    fleet, limit = scene.fleet, scene.day_budget
    by_midnight = spending.by_midnight(fleet)
    to_come = by_midnight - fleet.spent_today
    first: Line = [("today ", "dim"), (fmt.money(fleet.spent_today), "bold")]
    if limit:
        share = fleet.spent_today / limit
        ink = "err" if share > 1 else "warn" if share > 0.8 else "ok"
        first += [(f" of {fmt.money(limit)} ", "dim"), *bar(share, max(4, min(30, cells - 30)), ink)]
    over = limit is not None and by_midnight > limit
    second: Line = [("by midnight ", "dim"), (fmt.money(by_midnight), "warn bold" if over else "bold")]
    rate = f"  if {fmt.money(fleet.burn)}/h goes on" if to_come else "  nothing bills"
    second.append((rate, "dim"))
    lines = [first, second]
    if limit and over and fleet.spent_today < limit:
        at = spending.spent_at(limit - fleet.spent_today, fleet.burn, fleet.now)
        lines.append([(f"▲ the budget is spent at {fmt.of_day(at)[:5]}", "warn")] if at else [])
    elif limit and fleet.spent_today >= limit:
        lines.append([("▲ the budget is spent", "err")])
    return lines


def spend_chart(scene: Scene, width: int, height: int, look: Look) -> list[Line]:
    """Dollars over the hours of the day: what was spent, dim what is to come, dashed the budget."""
    fleet, limit = scene.fleet, scene.day_budget
    start = midnight(fleet.now)
    length = spending.next_midnight(fleet.now) - start
    spent: list[Point] = [(at, dollars, 0.0, 0.0) for at, dollars in spending.today(fleet, 2 * width)]
    end = spending.by_midnight(fleet)
    to_come: list[Point] = [(fleet.now - start, fleet.spent_today, 0.0, 0.0), (length, end, 0.0, 0.0)]
    top = max(end, limit if limit and limit < 4 * max(end, 0.25) else 0.0, 0.05) * 1.08
    axes = Axes(_dollars, lambda at: fmt.of_day(start + at)[:5] if at < length else "24:00", nice_step)
    scale = Scale(length, 0.0, top)
    under = to_come if fleet.burn else ()
    return plot(spent, scale, width, height, look, axes, under=under, level=limit)


def _dollars(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


class SpendChart(Pane):
    """Redrawn when something has changed, and else every half minute: the curve grows slowly."""

    def key(self, scene: Scene) -> Hashable:
        return scene.fleet.burn, scene.second // 30, scene.day_budget

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        fleet = scene.fleet
        by_midnight = spending.by_midnight(fleet)
        coming = f" → {fmt.money(by_midnight)} by midnight" if fleet.burn else ""
        limit = f", budget {fmt.money(scene.day_budget)}" if scene.day_budget else ""
        short = f"Today {fmt.money(fleet.spent_today)}{coming}"
        self.entitle(f"{short}{limit}" if len(short + limit) < width - 2 else short)
        look = Look("off", braille=not self.cockpit.inks.ascii)
        return spend_chart(scene, width, height, look) or [joined(budget_lines(scene, width), "   ")]
