"""What a comparison says: metrics × runs with their intervals, the paired differences with their tests, what
the runs differ in beside the model, and what to mind.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, cast

from gpusess.analysis.compare import ACCURACY, Against, Comparison
from gpusess.analysis.comparison_words import against_lines, figure_text, short
from gpusess.analysis.text import clean
from gpusess.tui import fmt, hints
from gpusess.tui.panes.compare_series import Compared, axis_of, scale_of, series_of
from gpusess.tui.panes.progress import more_line
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit, joined, wrapped
from gpusess.tui.widgets.line_chart import Look, plot_series
from gpusess.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from gpusess.tui.screens.compare import CompareScreen

_LABEL, _LEAST = 12, 22


class _OfComparison(Pane):
    @property
    def compare(self) -> CompareScreen:
        return cast("CompareScreen", self.screen)

    def key(self, scene: Scene) -> Hashable:
        runs = tuple((c.label, c.run.state.done) for c in self.compare.runs)
        waits = scene.second if self.compare.reading else None
        return runs, self.compare.made, waits, self.compare.error


class Curves(_OfComparison):
    """The accuracies over each other."""

    def draw(self, _scene: Scene, width: int, height: int) -> list[Line]:
        runs = self.compare.runs
        axis = axis_of(runs)
        along = {
            "percent": "over the share that is done",
            "steps": "over the steps",
            "results": "over the results",
        }
        self.entitle(f"Accuracy {along[axis]}")
        if len(runs) < 2:
            return _how_to(len(runs), width)
        series = series_of(runs, axis)
        if not any(one.points for one in series):
            return [[("no results yet", "dim")]]
        legend = joined([[(f"{run.letter} ", f"{run.ink} bold"), (run.label, "")] for run in runs], "   ", "")
        look = Look("off", braille=not self.cockpit.inks.ascii)
        return [legend, *plot_series(series, scale_of(series, runs, axis), width, height - 1, look)]


def _how_to(count: int, width: int) -> list[Line]:
    what = "There is one run here." if count else "There is no run here."
    fleet, mark = hints.key("screen.fleet"), hints.key("fleet.mark")
    compare = hints.key("screen.compare")
    text = f"{what} To compare: mark sessions with {mark} in Fleet ({fleet}), then press {compare}. "
    text += "Without marks the runs of the session that is looked at are compared."
    return wrapped(text, "dim", width, 4)


class Metrics(_OfComparison):
    """A row a metric, a column a run; the first run is what the others are held against."""

    def on_mount(self) -> None:
        self.entitle("Metrics")

    def show(self, scene: Scene) -> None:
        found = self.compare.found
        if found:
            rows = max(len(arm.figures) for arm in found.arms) if found.arms else 1
            self.claim(min(8, rows + 2) + 1)
        super().show(scene)

    def draw(self, _scene: Scene, width: int, height: int) -> list[Line]:
        found = self.compare.found
        if found is None:
            return [self.compare.waiting]
        return metric_lines(self.compare.runs, found, width)[:height]


def metric_lines(runs: list[Compared], found: Comparison, width: int) -> list[Line]:
    """As many runs as there are columns for; what does not fit is said."""
    fitting = max(1, (width - _LABEL) // _LEAST)
    shown = list(zip(runs, found.arms, strict=False))[:fitting]
    cells = min(40, (width - _LABEL) // max(1, len(shown)))
    head = fit([], _LABEL)
    for run, _ in shown:
        head += _column([(f"{run.letter} ", f"{run.ink} bold"), (run.label, "bold")], cells)
    names = list(dict.fromkeys(name for _, arm in shown for name in arm.figures))
    lines = [head]
    for name in names or [ACCURACY]:
        line: Line = fit([(name, "dim")], _LABEL)
        for _, arm in shown:
            figure = arm.figures.get(name)
            text = figure_text(name, figure) if figure else fmt.NONE
            line += _column([(text, "bold" if name == ACCURACY else "")], cells)
        lines.append(line)
    counts: Line = fit([("n", "dim")], _LABEL)
    for _, arm in shown:
        words = f"{arm.done:,} of {arm.total:,}, {arm.no_answer:,} no answer"
        counts += _column([(words, "dim")], cells)
    lines.append(counts)
    if len(shown) < len(runs):
        hidden = len(runs) - len(shown)
        need = "needs" if hidden == 1 else "need"
        lines.append([(f"{fmt.many(hidden, 'more run', 'more runs')} {need} a wider terminal", "dim")])
    return lines


def _column(line: Line, cells: int) -> Line:
    return [*fit(line, cells - 1), (" ", "")]


class Paired(_OfComparison):
    """Each run against the first, and what to mind; in a tall terminal no larger than it has to be."""

    def show(self, scene: Scene) -> None:
        if self.screen.has_class("-short"):
            self.styles.height = "1fr"
        elif self.size.width:
            most = self.screen.size.height * 2 // 5
            self.claim(min(most, max(2, len(self._lines_for(self.size.width)))) + 1)
        super().show(scene)

    def draw(self, _scene: Scene, width: int, height: int) -> list[Line]:
        runs = self.compare.runs
        self.entitle(f"Against {runs[0].label}" if runs else "Against")
        lines = self._lines_for(width)
        if len(lines) > height > 0:
            lines = [*lines[: height - 1], more_line(len(lines) - height + 1, "line")]
        return lines

    def _lines_for(self, width: int) -> list[Line]:
        found = self.compare.found
        if found is None or len(self.compare.runs) < 2:
            return []
        lines: list[Line] = []
        for row in found.against:
            lines += _against(row, width)
        for text in found.warnings:
            lines += wrapped(f"▲ {text}", "warn", width, 3)
        return lines


def _against(row: Against, width: int) -> list[Line]:
    """The difference, coloured where it is told apart from none, and its test."""
    paired = row.paired
    ink, word = "bold", "  (not told apart)"
    if paired.told_apart:
        ink, word = "ok" if paired.difference > 0 else "err", ""
    first, *rest = against_lines(row)
    lines = wrapped(f"{first}{word}", ink, width, 2)
    return lines + [line for text in rest for line in wrapped(text, "dim", width, 2)]


class Differences(_OfComparison):
    """All settings in which the runs are not equal; equal ones are not shown."""

    def draw(self, _scene: Scene, width: int, height: int) -> list[Line]:
        found, runs = self.compare.found, self.compare.runs
        self.entitle("What differs beside the model")
        if found is None or len(runs) < 2:
            return []
        models = [short(arm.model, 60) for arm in found.arms]
        rows = [("model", models)] if len(set(models)) > 1 else []
        rows += [(d.name, d.values) for d in found.differences]
        if not rows:
            return [[("nothing, as far as the runs recorded", "ok")]]
        name_cells = min(24, max(len(name) for name, _ in rows) + 1)
        cells = max(8, (width - name_cells) // len(runs))
        lines = [_difference(name, values, runs, name_cells, cells) for name, values in rows]
        if len(lines) > height > 0:
            lines = [*lines[: height - 1], more_line(len(lines) - height + 1, "difference")]
        return lines


def _difference(name: str, values: list[str], runs: list[Compared], name_cells: int, cells: int) -> Line:
    line: Line = fit([(clean(name), "dim")], name_cells)
    for run, value in zip(runs, values, strict=False):
        shown = short(clean(value), max(8, cells - 4)) or fmt.NONE
        line += _column([(f"{run.letter} ", f"{run.ink} bold"), (shown, "")], cells)
    return line
