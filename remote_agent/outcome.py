"""How an attempt at a run may end other than by being complete."""

from __future__ import annotations


class Hopeless(Exception):
    """The run cannot complete, and a restart does not change that; the message is for its user."""


class Again(Exception):
    """The run goes on in a new worker; the message says why."""
