"""The launch wizard without what its keys do: its state, and the rows and panes that are drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from gpusess.sessions.choosing import same_model
from gpusess.sessions.offers import NOT_OFFERING
from gpusess.tui import fmt, hints
from gpusess.tui.panes.wizard import Details, Step, Steps
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.screens.wizard_rows import (
    GUARD_COLUMNS,
    JOB_COLUMNS,
    OFFER_COLUMNS,
    Place,
    guard_cells,
    job_cells,
    measured,
    offer_cells,
    place_of,
)
from gpusess.tui.spans import Line
from gpusess.tui.widgets.filter_line import FilterLine
from gpusess.tui.widgets.row_table import Column, RowGetter, RowTable

if TYPE_CHECKING:
    from gpusess.providers.base import Offer
    from gpusess.sessions.offers import Answer
    from gpusess.sessions.wizard import Estimate, Guard, Job

Priced = tuple["Offer", "Answer"]

ASKED = 45
"""Seconds after which the providers have answered, or are said not to."""
REST = 0.15
"""Seconds that the cursor must rest on an offer before it is reckoned with."""


class WizardChoices(CockpitScreen):
    """Three steps over one table."""

    def __init__(self) -> None:
        super().__init__("wizard")
        self.step = Step.JOB
        self.jobs: list[Job] | None = None
        self.answers: list[Answer] = []
        self.asking = False
        self.every = False
        self.job: Job | None = None
        self.priced: Priced | None = None
        self.guard: Guard | None = None
        self.estimate: Estimate | None = None
        self.estimates: dict[Place, Estimate] = {}
        """What the job comes to on the offers that the cursor rested on."""
        self.launching = False
        self.asked_at = 0.0
        self._over = False
        self._entered = 0.0
        self._second = -1
        self._reckoned: Place | None = None
        self._filter = ""
        self._cursors = dict.fromkeys(Step, 0)

    @property
    def table(self) -> RowTable:
        return self.query_one(RowTable)

    def compose_body(self) -> ComposeResult:
        yield Steps(id="steps")
        yield RowTable(JOB_COLUMNS, id="choices")
        yield FilterLine("/", "words of a row, !word for rows without it")
        yield Details(id="details")

    @property
    def shown_jobs(self) -> list[Job]:
        return [j for j in self.jobs or [] if self._passes(job_cells(j))]

    @property
    def shown_offers(self) -> list[Priced]:
        """What can be had first, cheapest first; what does not fit the job only where it is asked for."""
        found = [(o, a) for a in self.listed for o in a.offers if self.every or self._fits(o)]
        found = [pair for pair in found if self._passes(offer_cells(*pair, 0.0))]
        return sorted(found, key=lambda p: (not p[0].available, p[0].price, p[0].provider, p[0].name))

    @property
    def here(self) -> Offer | None:
        """The offer under the cursor, where one chooses among offers."""
        if self.step is not Step.OFFER:
            return None
        shown = self.shown_offers
        return shown[self.table.cursor][0] if self.table.cursor < len(shown) else None

    @property
    def present(self) -> tuple[Offer | None, bool]:
        """The chosen offer as its provider offers it now, and whether that provider has answered."""
        assert self.priced
        place = place_of(self.priced[0])
        answers = [a for a in self.answers if a.provider == place[0] and not a.error]
        offers = [o for a in answers for o in a.offers if place_of(o) == place]
        return (offers[0] if offers else None), bool(answers)

    @staticmethod
    def _own(job: Job) -> list[str]:
        """The user's own machines that the job names."""
        return [name for name in job.providers if name in NOT_OFFERING]

    @property
    def listed(self) -> list[Answer]:
        """Own machines stand only where the job names them: what is there need not do for another one."""
        own = self._own(self.job) if self.job else []
        return [a for a in self.answers if a.provider not in NOT_OFFERING or a.provider in own]

    def _fits(self, offer: Offer) -> bool:
        wanted = self.job.gpus if self.job else ()
        return not wanted or any(
            same_model(model, offer.gpu) and count == offer.gpus for model, count in wanted
        )

    def _passes(self, cells: Sequence[Line]) -> bool:
        there = " ".join(part for cell in cells for part, _ in cell).lower()
        words = self._filter.split()
        return all((word[1:] not in there) if word[0] == "!" else (word in there) for word in words)

    def _draw(self) -> None:
        """Show the step's rows and what is known about the chosen one."""
        columns, count, rows, title, empty = self._rows()
        table = self.table
        table.columns, table.empty = measured(columns, count, rows), empty
        table.set_rows(count, rows)
        table.entitle(title)
        # The review is short, and what it comes to is what is read.
        review, kept = self.step is Step.REVIEW, table.has_class("-kept")
        table.styles.height = count + 2 if review and not kept else "1fr"
        self.query_one(Steps).show_step(self)
        details = self.query_one(Details)
        details.show_wizard(self)
        details.styles.height = "1fr" if review else min(max(7, details.rows + 1), self.size.height // 2)
        here = self.here
        if here and place_of(here) != self._reckoned:
            self._reckoned = place_of(here)
            self.set_timer(REST, self._reckon_here)

    def _rows(self) -> tuple[Sequence[Column], int, RowGetter, str, list[Line]]:
        now = self.cockpit.fleet.now
        if self.step is Step.JOB:
            jobs = self.shown_jobs
            words = "looking for specs…" if self.jobs is None else "no spec here: write one, see docs/spec.md"
            return JOB_COLUMNS, len(jobs), lambda i: job_cells(jobs[i]), "What is to run", _empty(words)
        if self.step is Step.OFFER:
            offers = self.shown_offers
            every, again = ("wizard.every", "shows all"), ("wizard.ask", "asks again")
            words = f"no offer fits{hints.ways(every, again)}"
            waits = f"asking the providers, {fmt.age(now - self.asked_at)} (at most {ASKED} s)"
            total = sum(len(answer.offers) for answer in self.listed)
            title = f"Offers  {len(offers)}"
            if len(offers) < total:
                title += f" of {total}{'' if self._filter else hints.ways(every)}"
            if self.asking:
                title, words = f"{title}   {waits}", waits
            return OFFER_COLUMNS, len(offers), lambda i: offer_cells(*offers[i], now), title, _empty(words)
        assert self.guard is not None
        assert self.priced is not None
        cells = guard_cells(self.guard, self.priced[0].price)
        return GUARD_COLUMNS, len(cells), lambda i: cells[i], "Review", []

    def _reckon_here(self) -> None:
        """Ask what the job comes to on the offer under the cursor."""
        raise NotImplementedError


def _empty(words: str) -> list[Line]:
    return [[], [(f"  {words}", "dim")]]
