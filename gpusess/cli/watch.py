"""Watching a session without a terminal UI: a line on stderr whenever something has happened, a summary on
stdout at the end. It only looks; the session's own process drives it.
"""

from __future__ import annotations

import json
import time

import click

from gpusess.analysis.run_state import RunState
from gpusess.analysis.text import clean
from gpusess.analysis.training_state import TrainState
from gpusess.errors import SessionError
from gpusess.sessions.board import Board, RunView, SessionView
from gpusess.sessions.states import State
from gpusess.sessions.store import Store
from gpusess.sessions.summary import accuracy_text, alarm_lines, duration_text, session_facts, summary_lines
from gpusess.sessions.training_summary import evaluation_text, figures_text, shown_lines, steer_text

LOOK_EVERY = 0.25
PROGRESS_EVERY = 2.0
"""Seconds between progress lines."""
DRIVER_PATIENCE = 5.0
"""Seconds that a session may be without a driver before that is said."""


def watch(store: Store, session_id: str, *, only_new: bool = False, to_the_end: bool = False) -> SessionView:
    """Print progress until the session has ended, failed or is kept; the last view.

    only_new: leave out what had happened before. to_the_end: a kept session is not the end.
    Raises SessionError when the driver is gone before that.
    """
    board = Board(store)
    progress = Progress()
    if only_new:
        progress.skip(board.refresh().session(session_id))
    alone_since: float | None = None
    while True:
        view = board.refresh().session(session_id)
        assert view is not None
        progress.show(view)
        if is_over(view) and not (to_the_end and view.row.state is State.READY):
            return view
        if not view.needs_driver:
            alone_since = None
        elif alone_since is None:
            alone_since = time.monotonic()
        elif time.monotonic() - alone_since > DRIVER_PATIENCE:
            bills = f", and it bills ${view.row.price:.2f}/h" if view.bills else ""
            raise SessionError(
                f"the process that drove {view.row.name} is gone{bills}", f"`gpusess resume {view.row.name}`"
            )
        time.sleep(LOOK_EVERY)


def is_over(view: SessionView) -> bool:
    """Ended, failed, or kept with nothing left to run."""
    if view.row.state in (State.TERMINATED, State.FAILED):
        # A driver that has just taken over has not yet said so.
        return not view.driven
    waiting = any(run.row.status in ("pending", "running") for run in view.runs)
    return view.row.state is State.READY and not waiting and view.row.detail.startswith("kept")


def exit_status(view: SessionView) -> int:
    """0: every run is complete; 1: not."""
    complete = all(run.row.status == "complete" for run in view.runs)
    return 0 if complete and view.row.state is not State.FAILED else 1


def print_summary(view: SessionView, as_json: bool) -> None:
    click.echo(json.dumps(session_facts(view)) if as_json else "\n".join(summary_lines(view)))


def left_alone(view_name: str) -> str:
    return (
        f"\nleft. The session goes on: `gpusess attach {view_name}` shows it, "
        f"`gpusess terminate {view_name}` ends it"
    )


class Progress:
    """Says what has changed since the last look."""

    def __init__(self) -> None:
        self._steps = 0
        self._detail = ""
        self._lease = ""
        self._findings = 0
        self._alarmed = False
        self._done = 0
        self._evaluated = -1
        self._collapses = 0
        self._steers = 0
        self._shown = 0
        self._planned = False
        self._spoke = 0.0

    def skip(self, view: SessionView | None) -> None:
        """Count what has happened as said."""
        if view:
            self._steps, self._detail = len(view.transitions), view.row.detail
            self._lease = view.row.options.get("lease") or ""
        if view and view.run:
            state = view.run.state
            self._findings, self._done, self._planned = len(state.checks), state.done, state.total > 0
            self._alarmed = state.alarm is not None
            if state.train:
                self._shown = len(state.train.shown)
            if state.train and state.train.evaluations:
                self._evaluated = state.train.evaluations[-1].step
                self._collapses, self._steers = len(state.train.collapses), len(state.train.steers)

    def show(self, view: SessionView) -> None:
        row = view.row
        for step in view.transitions[self._steps :]:
            self._line(view, f"{step.state}{': ' + step.detail if step.detail else ''}")
            self._detail = step.detail
        self._steps = len(view.transitions)
        if row.detail != self._detail:
            self._detail = row.detail
            self._line(view, f"{row.state}: {row.detail}")
        lease = row.options.get("lease") or ""
        if lease != self._lease and view.bills and row.price:
            self._line(view, f"lease: {lease}")
        self._lease = lease
        run = view.run
        if run:
            self._show_findings(view, run)
            self._show_alarm(view, run)
            self._show_progress(view, run)

    def _show_alarm(self, view: SessionView, run: RunView) -> None:
        for text in [] if self._alarmed else alarm_lines(run.state):
            self._alarmed = True
            self._line(view, f"ALARM {text}")

    def _show_findings(self, view: SessionView, run: RunView) -> None:
        checks = run.state.checks
        for finding in checks[self._findings :]:
            if finding.status != "ok":
                self._line(view, f"check {finding.status}: {finding.name}: {finding.message}")
        self._findings = len(checks)

    def _show_progress(self, view: SessionView, run: RunView) -> None:
        state, now = run.state, time.monotonic()
        if not state.total:
            return
        if not self._planned:
            self._planned = True
            fine = sum(finding.status == "ok" for finding in state.checks)
            what = "steps" if state.train else "results"
            self._line(
                view, f"preflight: {fine} of {len(state.checks)} checks ok; {state.total} {what} to come"
            )
        if state.train:
            self._show_training(view, state.train)
        finished = state.total > 0 and state.done == state.total
        if (
            not state.done
            or state.done == self._done
            or (now - self._spoke < PROGRESS_EVERY and not finished)
        ):
            return
        self._done, self._spoke = state.done, now
        if state.train:
            said = f"step {state.done}/{state.total}  {figures_text(state.train)}"
            self._line(view, f"{said}  ETA {duration_text(state.eta)}  ${view.spent:.2f}")
            return
        speed = f"{state.tokens_per_second:.0f} tok/s" if state.tokens_per_second else "-"
        self._line(
            view,
            f"{state.done}/{state.total}  {_arm(state)}accuracy {accuracy_text(state)}  {speed}  "
            f"ETA {duration_text(state.eta)}  ${view.spent:.2f}",
        )

    def _show_training(self, view: SessionView, train: TrainState) -> None:
        """Evaluations and findings of the guard, each as it comes."""
        for row in train.shown[self._shown :]:
            for line in shown_lines(row):
                self._line(view, line)
        self._shown = len(train.shown)
        for evaluation in train.evaluations:
            if evaluation.step > self._evaluated:
                self._evaluated = evaluation.step
                self._line(view, f"evaluated at {evaluation_text(evaluation)}")
        for collapse in train.collapses[self._collapses :]:
            self._line(
                view, f"COLLAPSE step {collapse.step}, {clean(collapse.rule)}: {clean(collapse.message)}"
            )
        self._collapses = len(train.collapses)
        for steer in train.steers[self._steers :]:
            self._line(view, f"asked: {steer_text(steer)}")
        self._steers = len(train.steers)

    @staticmethod
    def _line(view: SessionView, text: str) -> None:
        stamp = time.strftime("%H:%M:%S", time.localtime(view.now))
        click.echo(f"{stamp} {view.row.name} {text}", err=True)


def _arm(state: RunState) -> str:
    """Of a sweep: the checkpoint that the accuracy is of."""
    return f"{clean(state.sweep.current)} " if state.sweep else ""
