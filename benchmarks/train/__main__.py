"""`python -m benchmarks.train`: measure, print a row each, and fail where one is short of its goal."""

from __future__ import annotations

import sys

from benchmarks import runner
from benchmarks.train import collapse, gain, kills, live, pace, refusals

GROUPS: dict[str, runner.Measure] = {
    "refusals": refusals.measure,
    "gain": gain.measure,
    "grpo": live.measure,
    "collapse": collapse.measure,
    "kills": kills.measure,
    "pace": pace.measure,
}


if __name__ == "__main__":
    sys.exit(runner.main("benchmarks.train", __doc__, GROUPS))
