"""From what a spec expects to what an order says: a baseline's name becomes the interval of its accuracy."""

from __future__ import annotations

from gpusess.errors import GpusessError
from gpusess.sessions.answers import read_runs
from gpusess.sessions.context import log
from gpusess.sessions.find_runs import find_run
from gpusess.sessions.store import Store
from gpusess.spec.models import Expect
from remote_agent.protocol import Expectation


def expectation(store: Store, session: str, expect: Expect | None) -> Expectation | None:
    """What the order says. A baseline without results expects nothing, and says so, since an instance is
    already paid for when it is looked up."""
    if expect is None:
        return None
    if expect.value is not None:
        return _around(expect.value, expect.value, "the spec", expect)
    assert expect.baseline is not None
    return _baseline(store, session, expect.baseline, expect)


def _baseline(store: Store, session: str, name: str, expect: Expect) -> Expectation:
    own = {run.name for run in store.runs(session)}
    try:
        (run,) = read_runs([find_run(store, f"{session}/{name}" if name in own else name)])
    except GpusessError as exc:
        log.error("the baseline %s cannot be read: %s", name, exc.message)
        return Expectation(low=0.0, high=1.0, says=f"nothing: the baseline {name} cannot be read")
    band = run.answers.band
    if band is None:
        log.error("the baseline %s has no results", name)
        return Expectation(low=0.0, high=1.0, says=f"nothing: the baseline {name} has no results")
    return _around(*band, f"the baseline {name}", expect)


def _around(low: float, high: float, says: str, expect: Expect) -> Expectation:
    return Expectation(
        low=max(0.0, low - expect.within),
        high=min(1.0, high + expect.within),
        says=says,
        pause=expect.pause,
    )
