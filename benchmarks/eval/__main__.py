"""`python -m benchmarks.eval`: measure, print a row each, and fail where one is short of its goal."""

from __future__ import annotations

import sys

from benchmarks import runner
from benchmarks.eval import million, pace, scores, verdicts

GROUPS: dict[str, runner.Measure] = {
    "scores": scores.measure,
    "choices": verdicts.choices,
    "answers": verdicts.answers,
    "pace": pace.measure,
    "million": million.measure,
}


if __name__ == "__main__":
    sys.exit(runner.main("benchmarks.eval", __doc__, GROUPS))
