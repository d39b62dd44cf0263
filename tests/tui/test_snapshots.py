"""What the screens look like, as pictures. After a wanted change: `pytest tests/tui --snapshot-update`."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from . import world as worlds
from .conftest import MakeApp
from .test_app import settled

SnapCompare = Any

SMALL, WIDE, LARGE = (80, 24), (120, 40), (200, 60)

SCREENS: dict[str, tuple[str, ...]] = {
    "fleet": ("1", "j", "j"),
    "session": ("2",),
    "run": ("3",),
    "logs": ("6",),
    "gpu": ("7",),
    "cost": ("8",),
}
"""Screen → the keys that show it."""


def _press(*keys: str) -> Any:
    async def run(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await pilot.app.workers.wait_for_complete()
        await settled(pilot)

    return run


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("screen", SCREENS)
def test_screens(snap_compare: SnapCompare, make_app: MakeApp, screen: str, size: tuple[int, int]) -> None:
    app = make_app(session_id=None if screen == "fleet" else "s-amber")
    assert snap_compare(app, terminal_size=size, run_before=_press(*SCREENS[screen]))


@pytest.mark.parametrize("settings", [{"theme": "light"}, {"ascii": True}], ids=["light", "ascii"])
@pytest.mark.parametrize("screen", ["fleet", "session", "cost"])
def test_screens_in_other_looks(
    snap_compare: SnapCompare, make_app: MakeApp, screen: str, settings: dict[str, Any]
) -> None:
    app = make_app(session_id=None if screen == "fleet" else "s-amber", **settings)
    assert snap_compare(app, terminal_size=WIDE, run_before=_press(*SCREENS[screen]))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x60"])
def test_eight_gpus(
    snap_compare: SnapCompare, make_app: MakeApp, world: worlds.World, size: tuple[int, int]
) -> None:
    worlds.many_gpus(world)
    app = make_app(session_id="s-amber")
    assert snap_compare(app, terminal_size=size, run_before=_press("7"))


@pytest.mark.parametrize(
    "settings", [{"theme": "light"}, {"ascii": True}, {"theme": "ansi"}], ids=["light", "ascii", "ansi"]
)
def test_run_in_other_looks(snap_compare: SnapCompare, make_app: MakeApp, settings: dict[str, Any]) -> None:
    app = make_app(session_id="s-amber", **settings)
    assert snap_compare(app, terminal_size=WIDE, run_before=_press())


def test_run_large(snap_compare: SnapCompare, make_app: MakeApp) -> None:
    assert snap_compare(make_app(session_id="s-amber"), terminal_size=LARGE, run_before=_press())


def test_run_without_colour(
    snap_compare: SnapCompare, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app(session_id="s-amber", theme="auto")
    assert snap_compare(app, terminal_size=WIDE, run_before=_press())


@pytest.mark.parametrize("keys", [("x",), ("q",), ("question_mark",)], ids=["terminate", "quit", "help"])
def test_dialogs(snap_compare: SnapCompare, make_app: MakeApp, keys: tuple[str, ...]) -> None:
    app = make_app(session_id="s-amber")
    assert snap_compare(app, terminal_size=SMALL, run_before=_press(*keys))


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("step", ["job", "offer", "review"])
def test_wizard(snap_compare: SnapCompare, make_app: MakeApp, step: str, size: tuple[int, int]) -> None:
    async def go(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        for key in {"job": ["n"], "offer": ["n", "enter"], "review": ["n", "enter", "j", "enter"]}[step]:
            await pilot.press(key)
            await pilot.app.workers.wait_for_complete()
            await settled(pilot)

    assert snap_compare(make_app(), terminal_size=size, run_before=go)


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=["80x24", "120x40"])
def test_unknown_instances(
    snap_compare: SnapCompare, make_app: MakeApp, world: worlds.World, size: tuple[int, int]
) -> None:
    worlds.unknown(world)
    assert snap_compare(make_app(), terminal_size=size, run_before=_press("tab"))


def test_too_small(snap_compare: SnapCompare, make_app: MakeApp) -> None:
    assert snap_compare(make_app(), terminal_size=(50, 12), run_before=_press())


def test_failed_session(snap_compare: SnapCompare, make_app: MakeApp) -> None:
    assert snap_compare(make_app(session_id="s-frost"), terminal_size=WIDE, run_before=_press())
