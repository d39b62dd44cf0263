"""The load of the instance over the last minutes, from the heartbeats of its agent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from gpusess.analysis.run_state import RunState, Sample
from gpusess.sessions.board import SessionView
from gpusess.tui import fmt, status
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, fit
from gpusess.tui.widgets.meter import spark
from gpusess.tui.widgets.pane import Pane

_VALUE = 18


def instance_lines(session: SessionView, state: RunState, width: int) -> list[Line]:
    """A row for each of tokens/s, GPU, GPU memory, power, CPU and memory, where there is such a thing."""
    samples = list(state.telemetry)
    cells = max(8, min(120, width - 7 - _VALUE))
    rows = [
        _row(
            "tok/s", fmt.compact(state.tokens_per_second), spark(_token_rates(state, cells), cells, 0), cells
        )
    ]
    if samples:
        newest = samples[-1]
        rows += _gpu_rows(samples, cells) if newest.gpus else []
        memory = [s.mem_used / s.mem_total for s in samples if s.mem_total]
        used = f"{fmt.gib(newest.mem_used)} of {fmt.gib(newest.mem_total)} GiB"
        rows.append(
            _row("cpu", f"{newest.cpu:.0f}%", spark([s.cpu for s in samples[-cells:]], cells, 0, 100), cells)
        )
        rows.append(_row("memory", used, spark(memory[-cells:], cells, 0, 1), cells))
        rows.append([("disk   ", "dim"), (f"{fmt.gib(newest.disk_free)} GiB free", "")])
    if session.stale is not None:
        return [[(text, "dim") for text, _ in row] for row in rows]
    return rows


def _row(label: str, value: str, curve: str, cells: int, ink: str = "spark") -> Line:
    return [(f"{label:<7}", "dim"), *fit([(curve, ink)], cells), *fit([(f" {value}", "bold")], _VALUE)]


def _gpu_rows(samples: Sequence[Sample], cells: int) -> list[Line]:
    shown = samples[-cells:]
    newest = samples[-1].gpus
    rows = [
        _row("gpu", _mean_text(newest, "util", "%"), spark(_gpu_curve(shown, "util"), cells, 0, 100), cells)
    ]
    used = sum(g.get("mem_used") or 0 for g in newest)
    total = sum(g.get("mem_total") or 0 for g in newest)
    if total:
        curve = [sum(g.get("mem_used") or 0 for g in s.gpus) / total for s in shown]
        rows.append(
            _row("vram", f"{fmt.gib(used)} of {fmt.gib(total)} GiB", spark(curve, cells, 0, 1), cells)
        )
    if any(g.get("power") is not None for g in newest):
        rows.append(
            _row("power", _mean_text(newest, "power", " W"), spark(_gpu_curve(shown, "power"), cells), cells)
        )
    return rows


def _gpu_curve(samples: Sequence[Sample], name: str) -> list[float]:
    """The mean over the instance's GPUs at each heartbeat."""
    return [sum(g.get(name) or 0.0 for g in s.gpus) / len(s.gpus) for s in samples if s.gpus]


def _mean_text(gpus: Sequence[dict[str, float | None]], name: str, unit: str) -> str:
    values = [v for g in gpus if (v := g.get(name)) is not None]
    return f"{sum(values) / len(values):.0f}{unit}" if values else fmt.NONE


def _token_rates(state: RunState, cells: int) -> list[float]:
    """Tokens per second between the last results, oldest first."""
    moments = list(state.recent)
    pairs = itertools.pairwise(moments)
    return [(b[2] - a[2]) / (b[0] - a[0]) for a, b in pairs if b[0] > a[0]][-cells:]


class Instance(Pane):
    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        session, run = scene.session, scene.run
        self.entitle(f"Instance  {status.gpu(session)}" if session else "Instance")
        if not session or not run or not run.state.telemetry:
            return [[("no heartbeat yet", "dim")]]
        lines = instance_lines(session, run.state, width)
        if session.stale is not None:
            lines.insert(0, [(f"? {fmt.age(session.stale)} old", "warn bold")])
        return lines[:height]
