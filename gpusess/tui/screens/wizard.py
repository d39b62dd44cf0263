"""The launch wizard: a spec, a GPU among the live offers, and a review with the limits and the price on the
button. What is known and done comes through the intents; every call that takes time runs in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from gpusess.errors import GpusessError
from gpusess.tui.keys import bindings
from gpusess.tui.panes.wizard import Details, Step
from gpusess.tui.scene import Scene
from gpusess.tui.screens.wizard_choices import WizardChoices
from gpusess.tui.screens.wizard_rows import Place, adjusted, guard_cells, guard_of, place_of
from gpusess.tui.widgets.filter_line import FilterLine
from gpusess.tui.widgets.row_table import RowTable

if TYPE_CHECKING:
    from gpusess.sessions.offers import Answer
    from gpusess.sessions.wizard import Estimate, Guard, Job

LIVE = 30.0
"""Seconds after which the providers are asked again, while one chooses among what they offer."""
HELD = 0.3
"""A second `enter` within so many seconds is a key that is held down: it must not rent anything."""


class WizardScreen(WizardChoices):
    """`enter` goes on, `esc` one step back, and at the first one leaves."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("wizard")

    def on_mount(self) -> None:
        self.table.focus()
        self._draw()
        intents = self.cockpit.intents
        self._work(intents.jobs, self._took_jobs)
        self._work(partial(intents.offers, ask=False), self._took_offers)
        self.action_ask()

    def show(self, scene: Scene) -> None:
        """Once a second: ages grow, and what is chosen from is asked for again."""
        super().show(scene)
        if scene.second == self._second or scene.frozen or not self.query(Details):
            return
        self._second = scene.second
        if self.step is not Step.JOB and scene.fleet.now - self.asked_at > LIVE:
            self.action_ask()
        if self.asking or self.step is Step.OFFER:
            self._draw()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self._over:
            self.app.pop_screen()

    def can(self, action: str) -> bool:
        if action in ("next", "adjust"):
            return bool(self.table.count) and (action == "next" or self.step is Step.REVIEW)
        if action == "filter":
            return self.step is not Step.REVIEW and bool(self.table.count or self._filter)
        return self.step is Step.OFFER if action == "every" else self.step is not Step.JOB

    # --- what keys do ---

    def action_next(self) -> None:
        row = self.table.cursor
        if self.step is Step.JOB and row < len(self.shown_jobs) and not self.shown_jobs[row].error:
            self.job = self.shown_jobs[row]
            self.guard = guard_of(self.job)
            self.estimates.clear()
            self._go(Step.OFFER)
            if self._own(self.job):
                self._work(partial(self.cockpit.intents.own_machines, self.job), self._took_own)
        elif self.step is Step.OFFER and row < len(self.shown_offers):
            self.priced = self.shown_offers[row]
            self._go(Step.REVIEW)
            self._reckon()
        elif self.step is Step.REVIEW and self.guard:
            self._enter_review(row, len(guard_cells(self.guard, 0.0)) - 1)

    def _enter_review(self, row: int, button: int) -> None:
        held = time.monotonic() - self._entered < HELD
        if row < button or held:
            self._entered = time.monotonic()
            self.table.select(min(row + 1, button))
        else:
            self._launch()

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
            self.asking, self.asked_at = True, self.cockpit.fleet.now
            ask = partial(self.cockpit.intents.offers, ask=True, on_answer=self._heard)
            self._work(ask, self._took_all)
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
        if self.launching:
            self.cockpit.say("the session is being started")
            return True
        if self.query_one(FilterLine).clear():
            return True
        if self.step is Step.JOB:
            self.app.pop_screen()
        else:
            self._go(Step.JOB if self.step is Step.OFFER else Step.OFFER)
        return True

    # --- rows ---

    def _go(self, step: Step) -> None:
        self._cursors[self.step] = self.table.cursor
        self.query_one(FilterLine).clear()
        self._filter = ""
        self.step = step
        self._draw()
        self.table.select(self._cursors[step] if step is not Step.REVIEW else 0)
        self._draw()
        self.cockpit.tick()

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
        self.cockpit.tick()

    def _took_offers(self, answers: list[Answer]) -> None:
        if not self.answers:
            self._put(answers)

    def _heard(self, answer: Answer) -> None:
        """In the thread that asks: one provider has answered, others may take their time."""
        self.app.call_from_thread(self._took_one, answer)

    def _took_one(self, answer: Answer) -> None:
        self._put([*(a for a in self.answers if a.provider != answer.provider), answer])

    def _took_own(self, answers: list[Answer]) -> None:
        for answer in answers:
            self._took_one(answer)

    def _took_all(self, answers: list[Answer]) -> None:
        self.asking = False
        heard = {answer.provider for answer in answers}
        self._put([*answers, *(a for a in self.answers if a.provider not in heard)])

    def _put(self, answers: list[Answer]) -> None:
        """The cursor stays on its offer wherever that stands now."""
        here = self.here
        self.answers = answers
        self._draw()
        places = [place_of(offer) for offer, _ in self.shown_offers]
        if here and place_of(here) in places:
            self.table.select(places.index(place_of(here)))
            self._draw()
        self.cockpit.tick()

    def _reckon_here(self) -> None:
        """What the job comes to on the offer under the cursor, where that is not known yet."""
        here = self.here
        if here and self.job and self.guard and place_of(here) not in self.estimates:
            work = partial(self.cockpit.intents.estimate, self.job, here, self.guard)
            self._work(work, partial(self._took_here, self.job, place_of(here)))

    def _took_here(self, job: Job, place: Place, estimate: Estimate) -> None:
        if job is self.job:
            self.estimates[place] = estimate
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
        if self.app.screen is self:
            self.app.pop_screen()
        self._over = True  # where one looks at something else meanwhile, it goes when one comes back
        self.cockpit.launched(session_id)
