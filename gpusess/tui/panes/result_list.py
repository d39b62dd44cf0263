"""The rows of the Results screen, and the lines above them: counts, what the filter does, and the paired
figures where another run stands beside this one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from gpusess.analysis.paired import Paired
from gpusess.analysis.text import clean
from gpusess.sessions.result_pairing import Pairing
from gpusess.sessions.result_view import ResultView, Row
from gpusess.tui import fmt, spans
from gpusess.tui.keys import shown
from gpusess.tui.panes.result_detail import GLYPHS, verdict_line
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, joined, spread
from gpusess.tui.widgets.pane import Pane
from gpusess.tui.widgets.row_table import Column

if TYPE_CHECKING:
    from gpusess.tui.screens.results_list import ResultsList

ALONE = (
    Column("#", 5, 9, 1, "right"),
    Column("VERDICT", 11, 11, 0),
    Column("SAMPLE", 15, 24, 2),
    Column("CATEGORY", 8, 16, 5),
    Column("EXPECTED", 8, 14, 3, "right"),
    Column("GOT", 6, 14, 3, "right"),
    Column("TOK", 5, 6, 4, "right"),
    Column("TEXT", 18, 200, 6, stretch=True),
)
_NOTHING = {"truncated": "(cut)", "empty": "(empty)", "unparsed": "(none)"}
"""Why there is no answer, as short as the column."""
_OTHER = Column("OTHER", 11, 11, 0)


class Widths:
    """How wide the columns may grow: no wider than what they hold. They never shrink: nothing jumps."""

    def __init__(self) -> None:
        self._wide = [0] * len(ALONE)

    def saw(self, cells: Sequence[Line]) -> None:
        """Cells of a row that no other run stands beside."""
        for i, cell in enumerate(cells):
            self._wide[i] = max(self._wide[i], spans.width(cell))

    def columns(self, paired: bool) -> list[Column]:
        own = [
            column if column.stretch else replace(column, most=max(column.least, min(column.most, wide)))
            for column, wide in zip(ALONE, self._wide, strict=True)
        ]
        return [*own[:2], _OTHER, *own[2:]] if paired else own


def row_cells(row: Row, text: str) -> list[Line]:
    """One row of the table. text: the beginning of its completion."""
    kind = row.kind
    got = clean(row.extracted, 40) if row.extracted is not None else _NOTHING.get(kind.reason, "")
    verdict = verdict_line(kind.verdict)
    if kind.disagree:
        verdict = [*verdict, (" ?", "warn")]
    name = clean(row.sample, 60) + (f"/{row.candidate}" if row.candidate else "")
    return [
        [(f"{row.number + 1:,}", "dim")],
        verdict,
        [(name, "bold")],
        [(clean(kind.category, 40), "dim")],
        [(clean(row.gold, 40), "")],
        [(got, "" if row.extracted is not None else "dim")],
        [(f"{row.tokens_out:,}", "dim")],
        [(text, "dim")],
    ]


def other_cell(verdict: str) -> Line:
    """What another run made of the sample; a dash where it has none."""
    return verdict_line(verdict) if verdict in GLYPHS else [(fmt.NONE, "faint")]


def paired_line(pairing: Pairing) -> list[Line]:
    """The figures of the two runs, as `gpusess compare` has them, and what is doubtful about them."""
    paired = pairing.paired
    label = clean(pairing.label, 40)
    if paired is None:
        return [[(f" {label}: no sample in common", "warn")]]
    sign = "+" if paired.difference >= 0 else "−"
    low, high = 100 * paired.low, 100 * paired.high
    better = "ok" if paired.difference >= 0 else "err"
    here, there = f"{100 * paired.second:.1f}%", f"{100 * paired.first:.1f}%"
    difference = f"{sign}{abs(100 * paired.difference):.1f} points"
    gained, lost = fmt.count(paired.gained), fmt.count(paired.lost)
    parts: list[Line] = [
        [(" this ", "dim"), (here, "bold"), (f"  {label} ", "dim"), (there, "bold")],
        [(difference, better), (f" [{low:+.1f}, {high:+.1f}]", "dim")],
        [
            ("gained ", "dim"),
            (gained, "ok"),
            ("  lost ", "dim"),
            (lost, "err"),
            (f"  of {paired.n:,}", "dim"),
        ],
        [(_p(paired), "" if paired.told_apart else "warn")],
    ]
    lines = [joined(parts, " · ")]
    if pairing.warnings:
        lines.append([(f" ▲ {clean(pairing.warnings[0], 300)}", "warn")])
    return lines


def _p(paired: Paired) -> str:
    if paired.p is None:
        return "told apart" if paired.told_apart else "not told apart"
    p = "McNemar p < 0.001" if paired.p < 0.001 else f"McNemar p = {paired.p:.3f}"
    return p if paired.told_apart else f"{p}, not told apart"


class ResultHead(Pane, can_focus=False):
    """One line of counts with their keys; a second one with the paired figures."""

    def key(self, scene: Scene) -> Hashable:
        screen = cast("ResultsList", self.screen)
        view = screen.view
        state = (view.version, view.shown, view.progress, view.text) if view else screen.opening
        session = scene.session
        return session and session.row.id, state, screen.trouble, screen.pairing_word, scene.second // 5

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        screen = cast("ResultsList", self.screen)
        view = screen.view
        if view is None:
            lines: list[Line] = [[(f" {screen.opening}", "dim")]]
        else:
            lines = [self._counts(scene, view, width)]
            if screen.trouble:
                lines.append([(f" ▲ {clean(screen.trouble, 400)}", "err")])
            if screen.pairing_word:
                lines.append([(f" {clean(screen.pairing_word)}", "dim")])
            elif view.pairing:
                lines += paired_line(view.pairing)
        self.claim(len(lines))
        return lines

    def _counts(self, scene: Scene, view: ResultView, width: int) -> Line:
        words = view.text.split()
        total = view.index.rows
        wide = width >= 100
        keys = {key.id: shown(key.keys) for key in self.cockpit.keys.of("results")}
        chips = [(keys["results.all"], "all", total, not _CHIPS.keys() & set(words))]
        chips += [(keys[id], state, view.count(state), state in words) for state, id in _CHIPS.items()]
        parts: list[Line] = [
            [
                (key, "data bold"),
                (f" {state.replace('-', ' ')} ", "bold" if on else "dim"),
                (fmt.count(number) if wide else fmt.compact(number), "bold" if on else ""),
                (f" {100 * number / total:.1f}%" if wide and total and state != "all" else "", "dim"),
            ]
            for key, state, number, on in chips
        ]
        for state in ("disagree", "failed"):
            if (number := view.count(state)) and wide:
                parts.append([(f"{state} {fmt.count(number)}", "warn")])
        left = [(" ", ""), *joined(parts, "   " if wide else "  ")]
        return spread(left, [*self._right(scene, view), (" ", "")], width)

    @staticmethod
    def _right(scene: Scene, view: ResultView) -> Line:
        progress, size = view.progress, view.index.length
        if progress.unread > _UNREAD:
            return [(f"reading {100 * size / (size + progress.unread):.0f}%", "info")]
        if view.searching:
            share = 100 * progress.rows / max(1, view.index.rows)
            return [(f"{view.shown:,} so far, {share:.0f}% searched", "info")]
        if scene.session and scene.session.stale is not None:
            return [(f"? {fmt.age(scene.session.stale)} old", "warn")]
        return [(f"shown {view.shown:,}", "bold")] if view.text else []


_CHIPS = {"right": "results.right", "wrong": "results.wrong", "no-answer": "results.none"}
"""State → the id of its key."""
_UNREAD = 1 << 20
"""Bytes that wait on disk, from which on it is said."""
