"""What the GPU screen knows of a machine: a reading for each GPU, its row in the table, and the head. Where
an instance has no GPU, its processors and memory stand in their place, and are called so. Charts are in
gpu_charts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gpusess.analysis.run_state import Sample
from gpusess.sessions.board import SessionView
from gpusess.tui import fmt, hints
from gpusess.tui.panes.nothing import no_session
from gpusess.tui.scene import Scene
from gpusess.tui.spans import Line, joined, spread
from gpusess.tui.widgets.meter import bar, spark
from gpusess.tui.widgets.pane import Pane
from gpusess.tui.widgets.row_table import Column

if TYPE_CHECKING:
    from gpusess.tui.screens.gpu import GpuScreen

HOT = 85.0
"""°C from which a temperature is coloured: data-centre GPUs slow themselves down a little above it."""

COLUMNS = (
    Column("GPU", 12, 26, 0, stretch=True),
    Column("UTIL", 11, 11, 0),
    Column("MEMORY", 17, 17, 1),
    Column("POWER", 12, 12, 2, "right"),
    Column("TEMP", 6, 6, 3, "right"),
    Column("CLOCK", 9, 9, 4, "right"),
    Column("HELD DOWN BY", 15, 24, 5),
    Column("UTIL SO FAR", 24, 24, 6),
)

_WORDS = {
    "heat": ("heat", "err"),
    "slowdown": ("hardware slowdown", "err"),
    "brake": ("power brake", "err"),
    "power": ("its power limit", "warn"),
    "sync": ("sync boost", "warn"),
}


class Reading(NamedTuple):
    """One GPU, or the host where there is none: the newest values and the curves behind them."""

    name: str
    newest: dict[str, Any]
    of: Callable[[Sample], dict[str, Any] | None]
    """The same device in another sample; None: it was not reported."""
    is_host: bool = False


def readings(samples: Sequence[Sample]) -> list[Reading]:
    """A reading for each GPU of the newest heartbeat; the host's where there is none."""
    if not samples:
        return []
    gpus = samples[-1].gpus
    if not gpus:
        return [Reading("CPU (no GPU is reported)", _host(samples[-1]), _host, is_host=True)]
    return [_reading(gpu) for gpu in gpus]


def _reading(gpu: dict[str, Any]) -> Reading:
    index: int = gpu.get("index", 0)

    def same(sample: Sample) -> dict[str, Any] | None:
        gpus: Sequence[dict[str, Any]] = sample.gpus
        if index < len(gpus) and gpus[index].get("index") == index:  # mostly so
            return gpus[index]
        return next((g for g in gpus if g.get("index") == index), None)

    return Reading(f"{index}  {gpu.get('name') or 'GPU'}", gpu, same)


def _host(sample: Sample) -> dict[str, Any]:
    return {"util": sample.cpu, "mem_used": sample.mem_used, "mem_total": sample.mem_total}


# --- the table ---


def row_cells(reading: Reading, samples: Sequence[Sample], old: bool) -> list[Line]:
    """One device as a row; everything is dim where the last heartbeat is old."""
    now = reading.newest
    curve = [device["util"] for s in samples if (device := reading.of(s)) and device.get("util") is not None]
    cells: list[Line] = [
        [(reading.name, "bold")],
        _share(now.get("util")),
        memory(now),
        [(of(now.get("power"), now.get("power_limit"), "W"), "")],
        [temperature(now, "°C")],
        [(number(now.get("clock"), ""), ""), (" MHz" if now.get("clock") else "", "dim")],
        [(fmt.NONE, "dim")] if reading.is_host else held_down(now),
        [(spark(curve, 24, 0, 100), "spark")],
    ]
    if not old:
        return cells
    return [[(text, "dim" if ink != "faint" else ink) for text, ink in cell] for cell in cells]


def held_down(now: dict[str, Any]) -> Line:
    """Why the clock is lower than it could be."""
    reasons = now.get("throttle")
    if reasons is None:
        return [("not known", "dim")]
    return joined(([_WORDS.get(reason, (str(reason), "warn"))] for reason in reasons), ", ") or [("–", "dim")]


def _share(percent: float | None) -> Line:
    if percent is None:
        return [(fmt.NONE, "dim")]
    return [*bar(percent / 100, 6, "data"), (f" {percent:>3.0f}%", "bold")]


def memory(now: dict[str, Any]) -> Line:
    used, total = now.get("mem_used"), now.get("mem_total")
    if used is None or not total:
        return [(fmt.NONE, "dim")]
    ink = "warn" if used / total > 0.97 else ""
    return [(f"{fmt.gib(used)}", f"{ink} bold".strip()), (f" of {fmt.gib(total)} GiB", "dim")]


def temperature(now: dict[str, Any], unit: str) -> tuple[str, str]:
    value = now.get("temp")
    hot = value is not None and value >= HOT
    return f"{'▲' if hot else ''}{number(value, unit)}", "err" if hot else ""


def number(value: float | None, unit: str) -> str:
    return fmt.NONE if value is None else f"{value:,.0f}{unit}"


def of(value: float | None, most: float | None, unit: str) -> str:
    if value is None:
        return fmt.NONE
    return f"{value:.0f} of {most:.0f} {unit}" if most else f"{value:.0f} {unit}"


class GpuPane(Pane):
    """Redrawn with each heartbeat."""

    def key(self, scene: Scene) -> Hashable:
        run = scene.run
        return run.row.id if run else None, run.state.heartbeat if run else None, self._chosen, _age(scene)

    @property
    def _chosen(self) -> int:
        return cast("GpuScreen", self.screen).chosen

    @staticmethod
    def samples(scene: Scene) -> list[Sample]:
        return list(scene.run.state.telemetry) if scene.run else []

    def nothing(self, scene: Scene) -> list[Line]:
        """Why there is nothing to draw."""
        session = scene.session
        if not session:
            return no_session(max(20, self.size.width))
        if session.kind == "done":
            return [[("No heartbeat was kept of this session.", "dim")]]
        ways = hints.listed(("screen.session", "shows its way"))
        return [[(f"No heartbeat yet: it begins with its first run ({ways}).", "dim")]]


def _age(scene: Scene) -> int | None:
    stale = scene.session.stale if scene.session else None
    return None if stale is None else int(stale)


class GpuHead(Pane, can_focus=False):
    """The host in one line, and how old all this is."""

    def draw(self, scene: Scene, width: int, _height: int) -> list[Line]:
        session, run = scene.session, scene.run
        samples = run.state.telemetry if run else None
        if not session or not samples:
            return [[(session.row.name if session else "No session yet", "bold")]]
        return [spread(_host_line(session, samples[-1]), _beat(session, samples[-1]), width)]


def _host_line(session: SessionView, newest: Sample) -> Line:
    ink = "dim" if session.stale is not None else ""
    parts: list[Line] = [
        [(session.row.name, "bold")],
        [("cpu ", "dim"), (f"{newest.cpu:.0f}%", ink)],
        [("memory ", "dim"), (f"{fmt.gib(newest.mem_used)} of {fmt.gib(newest.mem_total)} GiB", ink)],
        [("disk ", "dim"), (f"{fmt.gib(newest.disk_free)} GiB free", ink)],
    ]
    return joined(parts, "   ", "")


def _beat(session: SessionView, newest: Sample) -> Line:
    age = fmt.age(session.now - newest.ts)
    if session.kind == "done":
        return [(f"as it was {age} ago", "dim")]
    if session.stale is not None:
        return [(f"? {age} old: no heartbeat, it may bill on", "warn bold")]
    return [(f"heartbeat {age} ago", "dim")]
