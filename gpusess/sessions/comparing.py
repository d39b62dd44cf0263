"""Reading runs from their mirrors and holding them against the first: evaluations and trainings alike."""

from __future__ import annotations

from collections.abc import Sequence

from gpusess.analysis.compare import Comparison, Side
from gpusess.analysis.compare_training import compare_any
from gpusess.sessions.answers import read_runs
from gpusess.sessions.find_runs import RunPlace


def compare_places(places: Sequence[RunPlace]) -> Comparison:
    """Blocks while it reads. Raises SessionError where a run has nothing at home, or a damaged line."""
    return compare_any([Side(run.label, run.state, run.answers) for run in read_runs(places)])
