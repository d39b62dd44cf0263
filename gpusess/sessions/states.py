"""The session's state machine: which states there are, and which may follow which."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a session is. Each is durable in the store before the effect that it announces."""

    REQUESTED = "requested"
    LAUNCHING = "launching"
    BOOTING = "booting"
    CONNECTING = "connecting"
    PREPARING = "preparing"
    READY = "ready"
    RUNNING = "running"
    DRAINING = "draining"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


ORDER = tuple(s for s in State if s is not State.FAILED)
"""The way of an undisturbed session."""

_ALWAYS = frozenset({State.TERMINATING, State.FAILED})
_WITH_INSTANCE = _ALWAYS | {State.CONNECTING, State.DRAINING}

ALLOWED: dict[State, frozenset[State]] = {
    State.REQUESTED: _ALWAYS | {State.LAUNCHING},
    State.LAUNCHING: _ALWAYS | {State.BOOTING},
    State.BOOTING: _WITH_INSTANCE,
    State.CONNECTING: _WITH_INSTANCE | {State.PREPARING},
    State.PREPARING: _WITH_INSTANCE | {State.READY},
    State.READY: _WITH_INSTANCE | {State.RUNNING},
    State.RUNNING: _WITH_INSTANCE | {State.READY},
    State.DRAINING: _ALWAYS,
    State.TERMINATING: frozenset({State.TERMINATED, State.FAILED}),
    # A resumed session begins again with a launch.
    State.TERMINATED: frozenset({State.LAUNCHING, State.FAILED}),
    # A failed session may still bill: it can be driven on, launched anew, or given back.
    State.FAILED: _ALWAYS | {State.LAUNCHING, State.BOOTING, State.DRAINING},
}

ENDED = frozenset({State.TERMINATED})
"""Nothing bills any more, and the provider has said so."""

STARTING = frozenset({State.REQUESTED, State.LAUNCHING, State.BOOTING, State.CONNECTING, State.PREPARING})
LIVE = frozenset({State.READY, State.RUNNING, State.DRAINING, State.TERMINATING})
