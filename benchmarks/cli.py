"""`python -m benchmarks.cli`: measure, print a row each, and fail where one is short of its goal."""

from __future__ import annotations

import os
import sys

from benchmarks import generation, idle, offers, runner, startup, stream

GROUPS: dict[str, runner.Measure] = {
    "startup": startup.measure,
    "stream": stream.measure,
    "idle": idle.measure,
    "offers": offers.measure,
    "generation": generation.measure,
}


if __name__ == "__main__":
    # An installed program has its bytecode; without it each start would compile all of ours anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.exit(runner.main("benchmarks.cli", __doc__, GROUPS))
