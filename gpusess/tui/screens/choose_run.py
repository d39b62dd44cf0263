"""A dialog that chooses one of the runs at home: to be looked at, or to stand beside the one that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from gpusess.analysis.text import clean
from gpusess.sessions.board import FleetView, RunView, SessionView
from gpusess.tui import fmt
from gpusess.tui.dialogs import DialogPane, Modal
from gpusess.tui.spans import Line, crop, fit

_ROWS = 12
_WIDTH = 58


@dataclass(frozen=True, slots=True)
class OtherRun:
    """A run that can be looked at, or stand beside another."""

    label: str
    session: str
    """Its session's id."""
    folder: Path
    model: str
    accuracy: float | None
    results: int
    same_data: bool


def other_runs(fleet: FleetView, mine: RunView) -> list[OtherRun]:
    """The runs of the same task that have results, those with the same data first, then the newest."""
    found = []
    for session in fleet.sessions:
        for run in session.runs:
            state = run.state
            if run.mirror == mine.mirror or not state.done or state.task != mine.state.task or state.train:
                continue
            found.append(_entry(session, run, state.model, state.data == mine.state.data))
    return sorted(found, key=lambda run: not run.same_data)


def runs_with_results(fleet: FleetView, here: SessionView) -> list[OtherRun]:
    """All runs that have results, those of this session first, then the newest."""
    sessions = [here, *(session for session in fleet.sessions if session is not here)]
    return [
        _entry(session, run, f"{run.state.task}  {run.state.model.rpartition('/')[2]}", True)
        for session in sessions
        for run in session.runs
        if run.state.done and not run.state.train
    ]


def _entry(session: SessionView, run: RunView, what: str, same_data: bool) -> OtherRun:
    alone = len(session.runs) == 1
    label = session.row.name if alone else f"{session.row.name}/{run.row.name}"
    state = run.state
    return OtherRun(label, session.row.id, run.mirror, what, state.accuracy, state.done, same_data)


class ChooseRun(Modal[OtherRun | None], inherit_bindings=False):
    """Arrows move, enter takes, esc takes none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", show=False),
        Binding("down,j", "step(1)", show=False),
        Binding("enter", "take", show=False),
        Binding("escape,q", "leave", show=False),
    ]

    def __init__(self, title: str, runs: Sequence[OtherRun], at: int = 0) -> None:
        super().__init__()
        self._title = title
        self._runs = runs
        self._at = at
        self._pane = DialogPane([])

    def compose(self) -> ComposeResult:
        yield self._pane

    def on_mount(self) -> None:
        self._pane.entitle(self._title)
        self._draw()

    def action_step(self, step: int) -> None:
        self._at = (self._at + step) % len(self._runs)
        self._draw()

    def action_take(self) -> None:
        self.answer(self._runs[self._at])

    def action_leave(self) -> None:
        self.answer(None)

    def _draw(self) -> None:
        first = max(0, min(self._at - _ROWS // 2, len(self._runs) - _ROWS))
        lines: list[Line] = []
        for i, run in enumerate(self._runs[first : first + _ROWS], first):
            here = i == self._at
            row: Line = [
                ("▌ " if here else "  ", "data"),
                (f"{clean(run.label, 24):<24} ", "bold"),
                (f"{fmt.percent(run.accuracy):>5}%  {fmt.compact(run.results):>5}  ", ""),
                (clean(run.model, 60), "dim") if run.same_data else ("▲ other data", "warn"),
            ]
            row = fit(crop(row, _WIDTH), _WIDTH)
            lines.append([(text, f"{ink} on-cursor".strip()) for text, ink in row] if here else row)
        self._pane.put([*lines, [], [("  enter takes it, esc leaves it", "dim")]])
