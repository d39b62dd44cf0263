"""The launch wizard: a spec, a GPU among the live offers, and a review with the limits and the price on the
button. What is known and done comes through the intents; every call that takes time runs in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from gpusess.errors import GpusessError
from gpusess.sessions.choosing import same_model
from gpusess.tui.keys import bindings
from gpusess.tui.panes.wizard import Details, Step, Steps
from gpusess.tui.screens.base import CockpitScreen
from gpusess.tui.screens.wizard_rows import (
    GUARD_COLUMNS,
    JOB_COLUMNS,
    OFFER_COLUMNS,
    adjusted,
    guard_cells,
    guard_of,
    job_cells,
    offer_cells,
)
from gpusess.tui.spans import Line
from gpusess.tui.widgets.filter_line import FilterLine
from gpusess.tui.widgets.row_table import Column, RowGetter, RowTable

if TYPE_CHECKING:
    from gpusess.providers.base import Offer
    from gpusess.sessions.offers import Answer
    from gpusess.sessions.wizard import Estimate, Guard, Job

Priced = tuple["Offer", "Answer"]


class WizardScreen(CockpitScreen):
    """Three steps over one table; `esc` goes one back, and at the first one leaves."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("wizard")

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
        self.launching = False
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

    def on_mount(self) -> None:
        self.table.focus()
        self._draw()
        intents = self.cockpit.intents
        self._work(intents.jobs, self._took_jobs)
        self._work(partial(intents.offers, ask=False), self._took_offers)
        self.action_ask()

    # --- what keys do ---

    def action_next(self) -> None:
        row = self.table.cursor
        if self.step is Step.JOB and row < len(self.shown_jobs) and not self.shown_jobs[row].error:
            self.job = self.shown_jobs[row]
            self.guard = guard_of(self.job)
            self._go(Step.OFFER)
        elif self.step is Step.OFFER and row < len(self.shown_offers):
            self.priced = self.shown_offers[row]
            self._go(Step.REVIEW)
            self._reckon()
        elif self.step is Step.REVIEW and self.guard:
            rows = len(guard_cells(self.guard, 0.0))
            self._launch() if row == rows - 1 else self.table.select(row + 1)

    def action_adjust(self, step: int) -> None:
        if self.step is Step.REVIEW and self.guard:
            self.guard = adjusted(self.guard, self.table.cursor, step)
            self._reckon()
            self._draw()

    def action_every(self) -> None:
        self.every = not self.every
        self._draw()

    def action_ask(self) -> None:
        if not self.asking:
            self.asking = True
            self._work(partial(self.cockpit.intents.offers, ask=True), self._took_all)
            self._draw()

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        self._filter = message.text.strip().lower()
        self._draw()

    def on_row_table_opened(self, _: RowTable.Opened) -> None:
        self.action_next()

    def on_row_table_moved(self, _: RowTable.Moved) -> None:
        self._draw()

    def go_back(self) -> bool:
        if self.query_one(FilterLine).clear():
            return True
        if self.step is Step.JOB:
            self.app.pop_screen()
        else:
            self._go(Step.JOB if self.step is Step.OFFER else Step.OFFER)
        return True

    # --- rows ---

    @property
    def shown_jobs(self) -> list[Job]:
        return [j for j in self.jobs or [] if self._passes(job_cells(j))]

    @property
    def shown_offers(self) -> list[Priced]:
        """What can be had first, cheapest first; what does not fit the job only where it is asked for."""
        found = [(o, a) for a in self.answers for o in a.offers if self.every or self._fits(o)]
        found = [pair for pair in found if self._passes(offer_cells(*pair, 0.0))]
        return sorted(found, key=lambda p: (not p[0].available, p[0].price, p[0].provider, p[0].name))

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
        table.columns, table.empty = columns, empty
        table.set_rows(count, rows)
        table.entitle(title)
        # The review is short, and what it comes to is what is read.
        review, kept = self.step is Step.REVIEW, table.has_class("-kept")
        table.styles.height = count + 2 if review and not kept else "1fr"
        self.query_one(Details).styles.height = "1fr" if review else 7
        self.query_one(Steps).show_step(self)
        self.query_one(Details).show_wizard(self)

    def _rows(self) -> tuple[Sequence[Column], int, RowGetter, str, list[Line]]:
        now = self.cockpit.fleet.now
        if self.step is Step.JOB:
            jobs = self.shown_jobs
            words = "looking for specs…" if self.jobs is None else "no spec here: write one, see docs/spec.md"
            return JOB_COLUMNS, len(jobs), lambda i: job_cells(jobs[i]), "What is to run", _empty(words)
        if self.step is Step.OFFER:
            offers = self.shown_offers
            words = "asking the providers…" if self.asking else "no offer fits (a: all offers, u: ask again)"
            title = f"Offers  {len(offers)}" + ("   asking…" if self.asking else "")
            return OFFER_COLUMNS, len(offers), lambda i: offer_cells(*offers[i], now), title, _empty(words)
        assert self.guard is not None
        assert self.priced is not None
        cells = guard_cells(self.guard, self.priced[0].price)
        return GUARD_COLUMNS, len(cells), lambda i: cells[i], "Review", []

    def _go(self, step: Step) -> None:
        self._cursors[self.step] = self.table.cursor
        self.query_one(FilterLine).clear()
        self._filter = ""
        self.step = step
        self._draw()
        self.table.select(self._cursors[step] if step is not Step.REVIEW else 0)
        self._draw()

    # --- work that takes time ---

    def _work(self, work: Callable[[], object], took: Callable[..., None]) -> None:
        def run() -> None:
            try:
                answer = work()
            except GpusessError as exc:
                self.app.call_from_thread(self._refused, exc)
            else:
                self.app.call_from_thread(took, answer)

        self.run_worker(run, thread=True, exit_on_error=False)

    def _refused(self, exc: GpusessError) -> None:
        self.asking = self.launching = False
        self.cockpit.say(exc.hint, title=exc.message, severity="error", timeout=10)
        if self.is_attached:
            self._draw()

    def _took_jobs(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self._draw()

    def _took_offers(self, answers: list[Answer]) -> None:
        if not self.answers:
            self.answers = answers
            self._draw()

    def _took_all(self, answers: list[Answer]) -> None:
        self.asking, self.answers = False, answers
        self._draw()

    def _reckon(self) -> None:
        """Ask what the choice comes to."""
        if self.job and self.priced and self.guard:
            self.estimate = None
            work = partial(self.cockpit.intents.estimate, self.job, self.priced[0], self.guard)
            self._work(work, partial(self._took_estimate, self.guard))

    def _took_estimate(self, guard: Guard, estimate: Estimate) -> None:
        if guard == self.guard:
            self.estimate = estimate
            self._draw()

    def _launch(self) -> None:
        if self.job and self.priced and self.guard and not self.launching:
            self.launching = True
            job, offer = self.job, replace(self.priced[0])
            self._work(partial(self.cockpit.intents.launch, job, offer, self.guard), self._launched)
            self._draw()

    def _launched(self, session_id: str) -> None:
        self.app.pop_screen()
        self.cockpit.launched(session_id)


def _empty(words: str) -> list[Line]:
    return [[], [(f"  {words}", "dim")]]
