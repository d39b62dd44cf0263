"""What may be asked of a training that runs, and what was asked and is not done yet: the same for every
cockpit and command, since it is told from the store and the run's mirror alone. Passing asks on is
`steering`'s work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gpusess.analysis.training_state import TrainState
    from gpusess.sessions.store import Request, RunRow

STEER, STOP_RUN = "steer", "stop_run"
"""The verbs of requests that concern one run."""
LOWER, IGNORED = 0.5, 50
"""The learning rate's factor at a rollback; steps for which alarms are ignored."""
NOT_DONE_SHOWN = 600.0
"""Seconds for which it is said that an ask will not be done."""


class Asked(NamedTuple):
    """Something that was asked of a run and is not done."""

    action: str
    """pause, rollback, ignore or stop."""
    what: str
    """In words: `pause at a checkpoint`."""
    at: float
    """When, in seconds since the epoch."""
    taken: bool
    """The instance has it; before that it waits at home for the link."""
    dropped: str
    """Why it will not be done; empty: it will."""

    @property
    def stands(self) -> str:
        """How it stands, in words."""
        if self.dropped:
            return f"not done: {self.dropped}"
        if not self.taken:
            return "it waits for the link"
        return "the run is being ended" if self.action == "stop" else "it is done at the end of a step"


def not_done(requests: Sequence[Request], run: RunRow, train: TrainState | None, now: float) -> list[Asked]:
    """What was asked of a run that runs and is not done, oldest first.

    requests: the session's of STEER and STOP_RUN, taken ones too. What was dropped is told for a while.
    """
    if run.status != "running":
        return []
    done = {steer.id for steer in train.steers} if train else set()
    found = []
    for request in requests:
        dropped = str(request.args.get("dropped", ""))
        if request.args.get("run") != run.id or request.args.get("ask", {}).get("id") in done:
            continue
        if dropped and (request.verb == STOP_RUN or now - (request.taken or now) > NOT_DONE_SHOWN):
            continue
        ask = request.args.get("ask", {"action": "stop"})
        found.append(Asked(ask["action"], in_words(ask), request.at, request.taken is not None, dropped))
    return found


def in_words(ask: dict[str, Any]) -> str:
    """An ask, as what follows on `asked to`."""
    if ask["action"] == "rollback":
        before = f" to step {ask['before']} or earlier" if ask.get("before") is not None else ""
        return f"go back{before}, with the learning rate × {ask.get('lr', LOWER):g}"
    if ask["action"] == "ignore":
        return f"ignore alarms for {in_steps(ask.get('steps', IGNORED))}"
    return "pause at a checkpoint" if ask["action"] == "pause" else "stop the run"


def in_steps(count: int) -> str:
    """`1 step`, `50 steps`."""
    return f"{count} step{'' if count == 1 else 's'}"


def rollback(train: TrainState, lr: float = LOWER, before: int | None = None) -> dict[str, Any]:
    """The fields of the ask that goes back.

    before: to a checkpoint of that step or an earlier one; None: to one from before the alarm's rule was
    broken, and without an alarm to the newest.
    """
    last = sound_step(train) if before is None else before
    return {"action": "rollback", "lr": lr, **({} if last is None else {"before": last})}


def sound_step(train: TrainState) -> int | None:
    """The last step from before the alarm's rule was broken; None without an alarm."""
    found = train.open_alarms
    if not found:
        return None
    from gpusess.analysis.training_health import limits_of

    every = int(train.settings.get("log_every", 1))
    return max(0, found[0].step - limits_of(train.settings).patience * every)


def what_goes(train: TrainState, step: int) -> str:
    """What going back to a step costs: `70 steps go`, `1 step goes`."""
    gone = train.step - step
    return f"{in_steps(gone)} go{'es' if gone == 1 else ''}"


def goes_back_to(train: TrainState, ask: dict[str, Any]) -> int:
    """The step that a rollback would lead to now; 0: the beginning."""
    last = min(ask.get("before", train.step - 1), train.step - 1)
    return max((made.step for made in train.checkpoints if made.step <= last), default=0)
