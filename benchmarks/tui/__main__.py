"""`python -m benchmarks.tui`: measure, print a row each, and fail where one is short of its goal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from benchmarks import runner, startup
from benchmarks.machine import data_folder
from benchmarks.rows import Line
from benchmarks.tui import fleet, flood, hour, results


def paint(quick: bool) -> Iterator[Line]:
    """The first paint, as `benchmarks.cli startup` measures it."""
    with data_folder(), startup.world():
        yield from startup.first_paint(5 if quick else 11)


GROUPS: dict[str, runner.Measure] = {
    "paint": paint,
    "flood": flood.measure,
    "results": results.measure,
    "fleet": fleet.measure,
    "hour": hour.measure,
}


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.exit(runner.main("benchmarks.tui", __doc__, GROUPS))
