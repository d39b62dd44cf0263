"""The Train screen: whether the training goes well, its curves, the rows as the model sees them, and what can
be asked of it while it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid

from gpusess.analysis.training_health import Health as HealthOf
from gpusess.analysis.training_health import Standing
from gpusess.analysis.training_state import TrainState
from gpusess.tui import steering
from gpusess.tui.keys import bindings
from gpusess.tui.panes.train_curves import names_of
from gpusess.tui.panes.train_health import Health
from gpusess.tui.panes.train_tiles import Rows, Tile
from gpusess.tui.panes.training import SampleRows
from gpusess.tui.scene import Scene
from gpusess.tui.screens.base import CockpitScreen

TILES = 12
"""At most so many charts at once; how many there are room for is the stylesheet's."""
LONG = 2000
"""Steps from which on drawing all curves takes so long that once a second is enough."""
HOME_EVERY = 2.0
"""Seconds between looks at which checkpoints are at home."""


class TrainScreen(CockpitScreen):
    """In a narrow terminal each figure is a row; else they are tiles, a page of them at a time."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("train")

    def __init__(self) -> None:
        super().__init__("train")
        self.first = 0
        """Which figure stands at the first place."""
        self.smooth = True
        self.standings: list[Standing] = []
        self.at_home: set[str] = set()
        """Names of the run's checkpoints on this disk."""
        self.course: tuple[int, ...] = ()
        """What the curves are drawn of: it changes with each step, in long trainings once a second."""
        self._drawn = 0
        self._health: dict[str, HealthOf] = {}
        self._mirror: Path | None = None

    def compose_body(self) -> ComposeResult:
        yield Health(id="health")
        with Grid(id="tiles"):
            for place in range(TILES):
                yield Tile(place)
        yield Rows(id="figures")
        yield SampleRows(id="samples")

    def on_mount(self) -> None:
        self.query_one(Health).focus()
        self.set_interval(HOME_EVERY, self._look_home)

    def show(self, scene: Scene) -> None:
        run = scene.run
        train = run.state.train if run else None
        if run and train:
            if run.row.id not in self._health:
                self.first = 0
            self.standings = self._health.setdefault(run.row.id, HealthOf()).take(train)
            self._follow(train, scene.second)
        else:
            self.standings, self.course = [], ()
        if run and run.mirror != self._mirror:
            self._mirror, self.at_home = run.mirror, set()
            self._look_home()
        for id in ("#tiles", "#figures"):
            for widget in self.query(id):
                widget.set_class(train is None, "-none")
        super().show(scene)

    def _follow(self, train: TrainState, second: int) -> None:
        course = (
            train.step,
            train.continued,
            len(train.collapses),
            len(train.steers),
            len(train.evaluations),
        )
        if course[1:] != self.course[1:] or train.step < LONG or second != self._drawn:
            self.course, self._drawn = course, second

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "steer" and self.cockpit.fleet.replay:
            return False
        return super().check_action(action, parameters)

    def can(self, action: str) -> bool:
        run = self.cockpit.session.run if self.cockpit.session else None
        if run is None or run.state.train is None:
            return False
        if action == "steer":
            return run.row.status == "running" and not run.state.outcome
        figures = names_of(run.state)
        return len(figures) > self._room() if action == "more" else bool(figures)

    def action_more(self) -> None:
        """The next page of figures."""
        scene = self.cockpit.scene
        names = names_of(scene.run.state) if scene and scene.run else []
        room = self._room()
        self.first = self.first + room if self.first + room < len(names) else 0
        self.cockpit.tick()

    def _room(self) -> int:
        """So many figures are shown at once."""
        tiles = sum(bool(tile.display and tile.region) for tile in self.query(Tile))
        return tiles or self.query_one(Rows).size.height

    def action_smooth(self) -> None:
        self.smooth = not self.smooth
        self.cockpit.tick()

    def action_steer(self) -> None:
        session = self.cockpit.session
        run = session.run if session else None
        if not self.cockpit.may_act():
            return
        if not session or not run or not run.state.train:
            self.cockpit.say("there is no training here to steer")
            return
        if run.row.status != "running" or run.state.outcome:
            self.cockpit.say(f"the run does not run: it is {run.state.outcome or run.row.status}")
            return
        steering.ask(self.cockpit, session, run)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _look_home(self) -> None:
        if self._mirror:
            self.app.call_from_thread(self._found_home, self._mirror, checkpoints_in(self._mirror))

    def _found_home(self, mirror: Path, names: set[str]) -> None:
        if mirror == self._mirror and names != self.at_home:
            self.at_home = names
            self.query_one(Health).redraw()


def checkpoints_in(mirror: Path) -> set[str]:
    """Names of the whole checkpoints that a run's folder at home holds."""
    from remote_agent import checkpoints

    return {made.name for made in checkpoints.whole(mirror)}
