"""The registry of screens: by name, the module and the class, and where `esc` leads from there. A screen is
imported when it is first opened, so that the first paint pays for one. Its key is in `keys.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from textual.screen import Screen


class Place(NamedTuple):
    """One screen."""

    source: str
    """`module:Class` in this package; the class takes no arguments, and its id is the screen's name."""
    back: str = "fleet"
    """Where `esc` leads."""


PLACES: dict[str, Place] = {
    "fleet": Place("fleet:FleetScreen"),
    "session": Place("session:SessionScreen"),
    "run": Place("run:RunScreen"),
    "train": Place("train:TrainScreen", "run"),
    "results": Place("results:ResultsScreen", "run"),
    "logs": Place("logs:LogsScreen", "run"),
    "compare": Place("compare:CompareScreen"),
    "gpu": Place("gpu:GpuScreen", "run"),
    "cost": Place("cost:CostScreen"),
}


def opener(name: str) -> Callable[[], Screen[None]]:
    """What makes the screen, importing its module then and not before."""

    def make() -> Screen[None]:
        module, _, cls = PLACES[name].source.partition(":")
        screen: Screen[None] = getattr(import_module(f"{__name__}.{module}"), cls)()
        return screen

    return make


MODES: dict[str, str | Callable[[], Screen[None]]] = {name: opener(name) for name in PLACES}
