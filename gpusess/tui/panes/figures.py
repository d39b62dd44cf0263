"""The run's numbers: what they are now, by category, and what the preflight had to say."""

from __future__ import annotations

from gpusess.analysis.run_state import Category, Finding
from gpusess.analysis.text import clean
from gpusess.sessions import money
from gpusess.sessions.board import RunView, SessionView
from gpusess.tui import fmt
from gpusess.tui.panes.progress import more_line, time_left
from gpusess.tui.panes.training import shown_lines, training_lines
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit, wrapped
from gpusess.tui.widgets.meter import interval_bar
from gpusess.tui.widgets.pane import Pane

_LABEL = 12


def now_lines(session: SessionView, run: RunView) -> list[Line]:
    """Label and value; what is zero and would be bad is left dim, what is bad is coloured."""
    state = run.state
    if state.train:
        attempt = _pair("attempt", _attempt(run))
        return [*_accuracy(run), [], *training_lines(state.train), [], attempt, *_cost(session, run)]
    lines = [
        *_accuracy(run),
        *_expected(run),
        *([_pair("forced", [("past a check", "warn")])] if state.forced else []),
        *_best(run),
        [],
        _pair("right", _share(state.right, state.graded, "ok")),
        _pair("wrong", _share(state.wrong, state.graded, "err")),
        _pair("no answer", _share(state.no_answer, state.graded, "warn")),
        _pair("  truncated", _share(state.truncated, state.graded, "warn")),
        _pair("  empty", _share(state.empty, state.graded, "warn")),
        _pair("failed", _share(state.failed, state.done, "err")),
        _pair("disagree", _share(state.disagree, state.graded, "warn")),
        [],
        _pair("tokens out", [(f"{state.tokens_out_mean:.0f} mean" if state.graded else fmt.NONE, "")]),
        _pair("attempt", _attempt(run)),
    ]
    return lines + _cost(session, run)


def _accuracy(run: RunView) -> list[Line]:
    band = run.state.band
    wilson = f"{band[0] * 100:.1f} – {band[1] * 100:.1f}" if band else fmt.NONE
    return [
        _pair("accuracy", [(f"{fmt.percent(run.state.accuracy)} %" if band else fmt.NONE, "bold")]),
        _pair("95% Wilson", [(wilson, "")]),
    ]


def _expected(run: RunView) -> list[Line]:
    """Where the accuracy should come out, by the spec or a baseline, and how far it is from there."""
    expected, accuracy = run.state.expected, run.state.accuracy
    if expected is None:
        return []
    low, high = f"{expected.low * 100:.1f}", f"{expected.high * 100:.1f}"
    lines = [
        _pair("expected", [(low if low == high else f"{low} – {high}", "")]),
        _pair("", [(clean(expected.says), "dim")]),
    ]
    if accuracy is not None:
        lines.append(_pair("difference", [_difference(run, accuracy - (expected.low + expected.high) / 2)]))
    return lines


def _difference(run: RunView, share: float) -> tuple[str, str]:
    """In percentage points; coloured where the band says that it is none of chance."""
    band, expected = run.state.band, run.state.expected
    assert expected
    outside = band is not None and (band[1] < expected.low or band[0] > expected.high)
    return f"{'▲ ' if outside else ''}{share * 100:+.1f} points", "warn bold" if outside else "bold"


def _best(run: RunView) -> list[Line]:
    """Of runs with several answers a sample: what the rerankers pick, and the oracle above them."""
    best = run.state.best
    if best.oracle is None:
        return []
    shares = {**best.reranked(), "oracle": best.oracle}
    return [_pair(name[: _LABEL - 1], [(f"{fmt.percent(share)} %", "")]) for name, share in shares.items()]


def _pair(label: str, value: Line) -> Line:
    return [(f"{label:<{_LABEL}}", "dim"), *value]


def _share(number: int, of: int, ink: str) -> Line:
    share = f"{number / of * 100:5.1f} %" if number and of else ""
    return [(f"{number:>6,}", ink if number else "dim"), (f"  {share}", "dim")]


def _attempt(run: RunView) -> Line:
    crashes = run.state.crashes
    tail = [(f", {crashes} crash{'es' if crashes > 1 else ''}", "warn")] if crashes else []
    return [(str(run.state.attempt or fmt.NONE), ""), *tail]


def _of_budget(session: SessionView, more: float) -> Line:
    """The session's budget, and whether what is still to come fits into it."""
    budget = session.row.options.get("budget")
    if budget is None:
        return []
    fits = session.spent + more <= budget
    return [
        (f" of {fmt.money(budget)}" if fits else f", over the {fmt.money(budget)}", "dim" if fits else "err")
    ]


def _cost(session: SessionView, run: RunView) -> list[Line]:
    state = run.state
    cost = money.run_spent(session.row, run.row, session.now)
    samples = state.done / max(1, state.candidates)
    # A training buys steps, not samples: it has no such price.
    per_1000 = f", {fmt.money(cost / samples * 1000)} / 1k" if samples and not state.train else ""
    lines = [_pair("cost", [(fmt.money(cost), ""), (per_1000, "dim")])]
    left = time_left(session, run)
    if left is not None:
        more = session.row.price * max(0.0, left) / 3600
        lines.append(_pair("will cost", [(fmt.money(cost + more), ""), *_of_budget(session, more)]))
        lines.append(
            _pair("finish", [(fmt.of_day(session.now + left)[:5], ""), (f"  in {fmt.clock(left)}", "dim")])
        )
    return lines


class Now(Pane):
    def on_mount(self) -> None:
        self.entitle("Now")

    def draw(self, scene: Scene, _width: int, height: int) -> list[Line]:
        self.entitle("Now")
        if not scene.session or not scene.run or not scene.run.state.done:
            return [[("no results yet", "dim")]]
        lines = now_lines(scene.session, scene.run)
        stale = scene.session.stale
        if stale is not None:
            self.entitle(f"As it was {fmt.age(stale)} ago")
            lines = [[(text, "dim") for text, _ in line] for line in lines]
        if len(lines) > height:
            # The figures come before the air between them.
            lines = [line for line in lines if line]
        return lines[:height]


def category_lines(categories: dict[str, Category], width: int) -> list[Line]:
    """The largest first: name, results, the accuracy as a point with its interval, and in numbers."""
    found = sorted(categories.items(), key=lambda item: (-max(item[1].planned, item[1].done), item[0]))
    names = max([len(name or "–") for name, _ in found] or [0])
    name_cells = min(names, max(8, width // 3))
    cells = width - name_cells - 6 - 2 - 13
    return [_category_line(name, category, name_cells, cells) for name, category in found]


def _category_line(name: str, category: Category, name_cells: int, cells: int) -> Line:
    head = [*fit([(name or "–", "")], name_cells), (f"{category.done:>6,}  ", "dim")]
    band, accuracy = category.band, category.accuracy
    if band is None or accuracy is None:
        return [*head, ("no results yet", "dim")]
    bar = interval_bar(band[0], accuracy, band[1], cells) if cells >= 8 else []
    return [*head, *bar, (f" {fmt.percent(accuracy):>5}", "bold"), (f" {fmt.plus_minus(band):>6}", "dim")]


class Categories(Pane):
    def on_mount(self) -> None:
        self.entitle("By category")

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        train = scene.run.state.train if scene.run else None
        self.entitle("As the model sees it" if train else "By category")
        if train:
            return shown_lines(train.shown, width)[:height] or [[("no rows are shown", "dim")]]
        categories = scene.run.state.categories if scene.run else {}
        if not categories:
            over = scene.run and (scene.run.state.outcome or scene.run.state.done)
            return [[("the task has no categories" if over else "no categories yet", "dim")]]
        lines = category_lines(categories, width)
        if len(lines) > height > 0:
            lines = [*lines[: height - 1], more_line(len(lines) - height + 1, "category", "categories")]
        return lines


class Checks(Pane):
    """The findings of the preflight that are not ok; no room is taken where there are none."""

    def on_mount(self) -> None:
        self.entitle("Preflight")

    def show(self, scene: Scene) -> None:
        found = self._findings(scene)
        self.set_class(not found, "-none")
        if found:
            self.claim(len(self._all(found, max(20, self.size.width))) + 1)
        super().show(scene)

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        return self._all(self._findings(scene), width)

    @staticmethod
    def _findings(scene: Scene) -> list[Finding]:
        checks = scene.run.state.checks if scene.run else []
        order = {"fail": 0, "warn": 1}
        return sorted((c for c in checks if c.status in order), key=lambda c: order[c.status])[:4]

    @staticmethod
    def _all(findings: list[Finding], width: int) -> list[Line]:
        lines: list[Line] = []
        for name, level, message in findings:
            glyph, ink = ("✗", "err") if level == "fail" else ("▲", "warn")
            lines += wrapped(f"{glyph} {name}: {message}", ink, width, 2)
        return lines
