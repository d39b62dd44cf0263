"""The wizard's panes: where one is, and what is known about the row under the cursor or about the whole
choice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum
from typing import TYPE_CHECKING

from gpusess.tui import fmt
from gpusess.tui.scene import Scene
from gpusess.tui.screens.wizard_rows import near, place_of
from gpusess.tui.spans import Line, joined, wrapped
from gpusess.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from gpusess.tui.screens.wizard_choices import WizardChoices


class Step(Enum):
    JOB = "job"
    OFFER = "GPU"
    REVIEW = "review"


_LABEL = 10


class WizardPane(Pane, can_focus=False):
    """Draws from the wizard instead of the scene."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._drawn: list[Line] = []

    def key(self, _scene: Scene) -> Hashable:
        return tuple(tuple(line) for line in self._drawn)

    def draw(self, _scene: Scene, _width: int, height: int) -> list[Line]:
        return self._drawn[:height]

    @property
    def rows(self) -> int:
        """Lines that there are to show."""
        return len(self._drawn)

    def put(self, lines: list[Line]) -> None:
        self._drawn = lines
        self.redraw()


class Steps(WizardPane):
    def show_step(self, wizard: WizardChoices) -> None:
        parts: list[Line] = []
        for number, step in enumerate(Step, start=1):
            here = step is wizard.step
            parts.append([(f"{number} {step.value}", "data bold" if here else "dim")])
        chosen: list[Line] = []
        if wizard.job and wizard.step is not Step.JOB:
            chosen.append([(wizard.job.name, "bold")])
        if wizard.priced and wizard.step is Step.REVIEW:
            offer = wizard.priced[0]
            chosen.append([(f"{offer.gpus}×{offer.gpu}" if offer.gpus else "cpu", "bold")])
        self.put([[(" New session   ", "bold"), *joined(parts, " › "), ("   ", ""), *joined(chosen, " on ")]])


class Details(WizardPane):
    def show_wizard(self, wizard: WizardChoices) -> None:
        width = max(20, self.size.width - 2)
        if wizard.step is Step.REVIEW:
            self.entitle("What it comes to")
            self.put(review_lines(wizard, width))
        elif wizard.step is Step.OFFER:
            self.entitle("Who says so")
            self.put(answer_lines(wizard, width))
        else:
            self.entitle("Spec")
            self.put(job_lines(wizard, width))


def _pair(name: str, value: str, ink: str = "") -> Line:
    return [(f"{name:<{_LABEL}}", "dim"), (value, ink)]


def job_lines(wizard: WizardChoices, width: int) -> list[Line]:
    jobs, row = wizard.shown_jobs, wizard.table.cursor
    if row >= len(jobs):
        return []
    job = jobs[row]
    if job.error:
        return [*wrapped(job.error, "err", width, 4), _pair("file", str(job.path))]
    limits = [fmt.money(job.budget)] if job.budget is not None else []
    limits += [f"{job.max_hours:g} h"] if job.max_hours is not None else []
    return [
        _pair("file", near(job.path)),
        _pair("wants", f"{job.wants} at {', '.join(job.providers)}"),
        _pair("runs", job.runs),
        _pair("limits", ", ".join(limits) or "none", "" if limits else "warn"),
    ]


def answer_lines(wizard: WizardChoices, width: int) -> list[Line]:
    """Each provider: how many offers, how old, and why there is nothing newer."""
    now = wizard.cockpit.fleet.now
    lines: list[Line] = here_lines(wizard)
    for answer in wizard.listed:
        many = fmt.many(len(answer.offers), "offer")
        said = f"{many} as of {fmt.of_day(answer.at)}" if answer.at else "nothing is known"
        lines.append(_pair(answer.provider, said, "" if now - answer.at < 3600 else "warn"))
        if answer.error:
            indent: Line = [(" " * _LABEL, "")]
            why = f"{answer.error} ({answer.hint})" if answer.hint else answer.error
            lines += [[*indent, *line] for line in wrapped(why, "warn", width - _LABEL, 2)]
    if not wizard.listed and not wizard.asking:
        lines.append([("there is no key for any provider: see docs/providers/README.md", "warn")])
    return lines


def here_lines(wizard: WizardChoices) -> list[Line]:
    """What the job comes to on the offer under the cursor, in one line."""
    here = wizard.here
    found = wizard.estimates.get(place_of(here)) if here else None
    if here is None:
        return []
    if found is None:
        return [[("here      ", "dim"), ("reckoning…", "dim")]]
    start = fmt.clock(found.start) if found.starts else "not known"
    work = _span(found.work, fmt.clock) if found.work else "not known"
    cost = _span(found.cost, fmt.money) if found.cost else "not known"
    parts = (("start", start), ("work", work), ("cost", cost))
    return [[("here      ", "dim"), *joined([[(f"{n} ", "dim"), (v, "bold")] for n, v in parts], "   ")]]


def _span(values: tuple[float, float], text: Callable[[float], str]) -> str:
    low, high = (text(value) for value in values)
    return low if low == high else f"{low} to {high}"


def review_lines(wizard: WizardChoices, width: int) -> list[Line]:
    assert wizard.priced is not None
    offer, found = wizard.priced[0], wizard.estimate
    place = f"{offer.name} in {offer.region or 'any region'} at {offer.provider}"
    lines = [_pair("instance", place)]
    if offer.spot:
        lines.append(_pair("", "spot: it may be taken away at any time", "warn"))
    lines += _changed(wizard)
    if found is None:
        return [*lines, [("reckoning…", "dim")]]
    begun = f"{fmt.clock(found.start)} (median of {found.starts})" if found.starts else "never started so far"
    lines.append(_pair("start", begun, "" if found.starts else "dim"))
    if found.work:
        lines.append(_pair("work", f"{_span(found.work, fmt.clock)} ({found.works} earlier)"))
    else:
        lines.append(_pair("work", "this job has not been done on this type so far", "dim"))
    lines += _cost_lines(wizard)
    if wizard.launching:
        lines.append([("launching…", "info bold")])
    label = "if away"
    for text in wrapped(found.lease, "", width - _LABEL, 3):
        lines.append([(f"{label:<{_LABEL}}", "dim"), *text])
        label = ""
    return lines


def _cost_lines(wizard: WizardChoices) -> list[Line]:
    found = wizard.estimate
    assert found is not None
    lines: list[Line] = []
    if found.cost:
        lines.append(_pair("cost", _span(found.cost, fmt.money), "bold"))
    if found.most is None:
        lines.append(_pair("at most", "nothing limits what it may cost: set a budget or a time", "err"))
    else:
        lines.append(_pair("at most", fmt.money(found.most), "bold"))
    return lines + _of_the_day(wizard)


def _changed(wizard: WizardChoices) -> list[Line]:
    """What has become of the chosen offer since."""
    assert wizard.priced is not None
    offer, (now, answered) = wizard.priced[0], wizard.present
    if now is None:
        return [_pair("", "▲ it is offered no more", "err")] if answered else []
    if now.price != offer.price:
        return [_pair("", f"▲ it costs {fmt.money(now.price)}/h by now: choose it again", "err")]
    full = _pair("", "▲ there is no room now: it would wait, or be refused", "warn")
    return [] if now.available else [full]


def _of_the_day(wizard: WizardChoices) -> list[Line]:
    """What the day would come to, beside its budget."""
    found, fleet, limit = wizard.estimate, wizard.cockpit.fleet, wizard.cockpit.settings.day_budget
    assert found is not None
    more = found.cost[1] if found.cost else found.most
    if limit is None or more is None:
        return []
    over = fleet.spent_today + more > limit
    text = f"{fmt.money(fleet.spent_today)} so far + {fmt.money(more)}, of {fmt.money(limit)}"
    return [_pair("today", f"▲ {text}" if over else text, "warn" if over else "")]
