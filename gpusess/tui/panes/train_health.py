"""The strip at the top of the Train screen: whether it goes well, in words; each rule of the collapse guard
with its value and its limit; how far the training is, and what of it is safe at home.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gpusess.analysis.text import clean
from gpusess.analysis.training_health import Standing
from gpusess.analysis.training_state import TrainState
from gpusess.sessions.board import RunView, SessionView
from gpusess.tui import fmt, hints, status
from gpusess.tui.panes.nothing import no_session
from gpusess.tui.panes.progress import asked_lines, progress_line, trouble_lines, waiting_lines
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit, joined, spread, width, wrapped
from gpusess.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from gpusess.tui.screens.train import TrainScreen

_INKS = {"ok": "ok", "strained": "warn", "alarm": "err", "waiting": "dim", "off": "dim"}
_GLYPHS = {"ok": "✓", "strained": "▲", "alarm": "▲", "waiting": "○", "off": "–"}
_CELL = 36
_DONE = {
    "alarm": "the run goes on",
    "pause": "paused at a checkpoint",
    "stop": "stopped",
    "rollback": "rolled back",
}


class Health(Pane):
    """Takes the rows that it needs: more where something is wrong."""

    def on_mount(self) -> None:
        self.entitle("Health")

    @property
    def train_screen(self) -> TrainScreen:
        return cast("TrainScreen", self.screen)

    def show(self, scene: Scene) -> None:
        if self.size.width:
            self.claim(len(self._lines_for(scene, self.size.width)) + 1)
        super().show(scene)

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        run = scene.run
        method = run.state.train.method.upper() if run and run.state.train else ""
        rules = self.train_screen.standings
        kept = sum(standing.state == "ok" for standing in rules)
        self.entitle(f"Health  {method}  {kept} of {len(rules)} rules kept" if rules else "Health")
        return self._lines_for(scene, width)

    def _lines_for(self, scene: Scene, cells: int) -> list[Line]:
        session, run = scene.session, scene.run
        if not session or not run:
            return no_session(cells)
        train = run.state.train
        if train is None:
            return self._no_training(session, run, cells)
        narrow = cells < 100
        lines = [*self._words(session, run, train, cells), progress_line(session, run, cells)]
        lines.append(self._pace(train, cells))
        return lines + rule_lines(self.train_screen.standings, cells, only_bad=narrow)

    def _no_training(self, session: SessionView, run: RunView, cells: int) -> list[Line]:
        if run.row.status == "pending" and session.kind != "done":
            waits = waiting_lines(session, self.train_screen.usual(session), cells)
            what = f"{run.row.name} has not begun"
        else:
            waits, what = [], f"{run.row.name} is no training, or has not come to its first step"
        elsewhere = hints.listed(("screen.run", "the run"), ("screen.logs", "the log"))
        text = f"{what}. This screen shows runs whose spec has a section `train` ({elsewhere})."
        return [*waits, *wrapped(text, "dim", cells, 3)]

    def _words(self, session: SessionView, run: RunView, train: TrainState, cells: int) -> list[Line]:
        """The alarm, or what was asked, or that all is well."""
        lines: list[Line] = []
        alarm = train.alarm
        if alarm:
            ways = hints.ways(("train.steer", "acts")) if run.row.status == "running" else ""
            lines += wrapped(f"▲ COLLAPSE{ways} {_collapse(train)}", "err", cells, 3)
            lines += asked_lines(run, session.now, cells)
        lines += [_rolled_back(train)] if train.collapses and not alarm else []
        lines += [_steered(train)] if train.steers else []
        trouble = trouble_lines(session, cells, rows=1)[:3] if not alarm else []
        if not lines and not trouble:
            found = status.of(session)
            strained = [s.label for s in self.train_screen.standings if s.state == "strained"]
            if strained:
                lines.append([(f"▲ strained: {', '.join(strained)}", "warn")])
            else:
                lines.append(
                    spread([("✓ no rule of the collapse guard is broken", "ok")], found.line(), cells)
                )
        return lines + trouble

    def _pace(self, train: TrainState, cells: int) -> Line:
        lr = train.latest("lr")
        parts: list[Line] = [
            [("lr ", "dim"), (f"{lr:.3g}" if lr is not None else fmt.NONE, "")],
            self._checkpoint(train),
        ]
        if train.best is not None:
            share = train.best.right / max(1, train.best.samples)
            parts.append(
                [("best ", "dim"), (f"{fmt.percent(share)} %", ""), (f" at step {train.best.step}", "dim")]
            )
        if train.continued > 0:
            parts.append([(f"continued {train.continued}×", "dim")])
        while len(parts) > 2 and width(joined(parts, "   ", "")) > cells:
            parts.pop()
        return joined(parts, "   ", "")

    def _checkpoint(self, train: TrainState) -> Line:
        if not train.checkpoints:
            return [("no checkpoint yet", "warn" if train.step else "dim")]
        newest = clean(train.checkpoints[-1].name)
        home = self.train_screen.at_home
        if newest in home:
            return [("saved ", "dim"), (newest, ""), (" ✓ at home", "ok")]
        older = max((name for name in home if name.startswith("step-")), default="")
        there = f", {older} is" if older else ""
        return [("saved ", "dim"), (newest, ""), (f" ▲ not at home{there}", "warn")]


def _collapse(train: TrainState) -> str:
    """`at step 169, kl: … above 10; since step 164: entropy, reward. The run goes on.`"""
    found = train.open_alarms
    last = found[-1]
    before = ", ".join(dict.fromkeys(clean(c.rule) for c in found if c.rule != last.rule))
    since = f"; since step {found[0].step}: {before}" if before else ""
    done = _DONE.get(last.action, last.action).capitalize()
    return f"at step {last.step}, {clean(last.rule)}: {clean(last.message)}{since}. {done}."


def _rolled_back(train: TrainState) -> Line:
    last = train.collapses[-1]
    back = f", back to step {last.to_step}" if last.to_step is not None else ""
    return [
        (f"▲ {clean(last.rule)} at step {last.step}: {_DONE.get(last.action, last.action)}{back}", "warn")
    ]


def _steered(train: TrainState) -> Line:
    last = train.steers[-1]
    if last.action == "rollback":
        text = f"asked for at step {last.step}: back to step {last.to_step}, lr × {last.lr_factor:.3g}"
    elif last.action == "ignore":
        over = "" if (last.until or 0) >= train.step else " (over)"
        text = f"alarms are ignored up to step {last.until}{over}, as asked at step {last.step}"
    else:
        text = f"paused at step {last.step}, as asked"
    return [(f"● {text}", "info")]


def rule_lines(standings: list[Standing], cells: int, *, only_bad: bool) -> list[Line]:
    """Each rule with its value and limit, in columns; in a narrow terminal only those that are not kept."""
    shown = [s for s in standings if s.state in ("alarm", "strained")] if only_bad else standings
    columns = max(1, cells // _CELL)
    rows = [shown[i : i + columns] for i in range(0, len(shown), columns)]
    return [[span for standing in row for span in fit(_rule(standing), _CELL)] for row in rows]


def _rule(found: Standing) -> Line:
    ink = _INKS[found.state]
    head: Line = [
        (f"{_GLYPHS[found.state]} ", ink),
        (f"{found.label:<11}", ink if found.state != "ok" else ""),
    ]
    if found.state in ("off", "waiting") or found.level is None:
        words = {"off": "off", "waiting": "waits for steps", "alarm": "NaN or infinite", "ok": "none"}
        return [*head, (words.get(found.state, ""), "dim")]
    count = f" {found.broken}/{found.patience}" if found.state in ("strained", "alarm") else ""
    return [*head, (f"{found.level.value:>7.3g}", "bold"), (f" {found.limit}", "dim"), (count, ink)]
