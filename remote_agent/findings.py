"""What an attempt says before its work: its phases, and what its checks have found. A failure ends it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from remote_agent.evaluation import PatientWriter
from remote_agent.outcome import Hopeless
from remote_agent.protocol import Check, Phase

log = logging.getLogger("worker")


class Findings:
    """Writes phases and checks of one attempt. `forced`: what was gone past because the order says so."""

    def __init__(self, writer: PatientWriter) -> None:
        self.writer = writer
        self.forced: list[str] = []

    def phase(self, name: str, detail: str) -> None:
        log.info("%s: %s", name, detail)
        self.writer.write(Phase.model_validate({"name": name, "detail": detail}))

    def check(self, checks: Iterable[Check]) -> None:
        """Record all checks, then end the run if one failed: a user wants to see the others as well.

        Raises Hopeless.
        """
        done = list(checks)
        self.writer.write(*done)
        self.forced += [check.message for check in done if check.forced]
        failures = [check.message for check in done if check.status == "fail"]
        if failures:
            raise Hopeless(" ".join(failures))

    def fail(self, name: str, message: str) -> None:
        """One check that failed. Raises Hopeless."""
        self.check([Check(name=name, status="fail", message=message)])
