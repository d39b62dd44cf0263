"""A world for each test, of which nothing is left alive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.faults.world")

from tests.training.conftest import rows_file as rows_file  # noqa: E402
from tests.training.conftest import tiny_model as tiny_model  # noqa: E402

from .screen import Screen  # noqa: E402
from .world import World  # noqa: E402 (its assertions are to be explained too)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def screens(world: World) -> Iterator[list[Screen]]:
    """Terminals that a test opens, to be closed after it."""
    opened: list[Screen] = []
    yield opened
    for screen in opened:
        screen.close()
